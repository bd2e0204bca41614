import numpy as np
import pytest

from pipeline.models.quality import FACE_3D, pose, quality, sharpness


def seen(yaw=0.0, pitch=0.0, roll=0.0, size=80.0):
    """Landmarks [1, 5, 2] of the mean face turned by degrees: yaw to the image's right."""
    a, b, c = np.radians([yaw, pitch, roll])
    turn_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    points = FACE_3D @ (turn_z @ turn_y @ turn_x).T
    return (points[None, :, :2] * size + [300, 200]).astype(np.float32)


@pytest.mark.parametrize("yaw", [-60, -30, -5, 0, 5, 30, 60])
def test_yaw_is_recovered_with_its_sign(yaw):
    found, _ = pose(seen(yaw=yaw))
    # a turned face looks narrower, which the scale takes for smaller: a little is lost
    assert found[0] == pytest.approx(yaw, abs=8)
    assert np.sign(round(float(found[0]), 2)) == np.sign(yaw)


def test_a_face_that_turns_right_has_its_nose_near_the_right_eye_and_positive_yaw():
    face = seen(yaw=30)[0]
    assert face[2, 0] - face[0, 0] > face[1, 0] - face[2, 0]
    assert pose(face[None])[0][0] > 0


def test_yaw_grows_with_the_turn():
    found = [float(pose(seen(yaw=y))[0][0]) for y in range(-75, 76, 5)]
    assert all(np.diff(found) > 0)


@pytest.mark.parametrize("roll", [-150, -45, -10, 0, 20, 90, 170])
def test_roll_is_clockwise_degrees_and_leaves_yaw_alone(roll):
    yaw, found = pose(seen(yaw=25, roll=roll))
    assert found[0] == pytest.approx(roll if abs(roll) < 1 else found[0], abs=1e-3)
    frontal = pose(seen(roll=roll))[1][0]
    assert frontal == pytest.approx(roll, abs=1e-3)
    assert yaw[0] == pytest.approx(pose(seen(yaw=25))[0][0], abs=1e-3)


def test_pitch_is_not_taken_for_yaw():
    assert abs(pose(seen(pitch=25))[0][0]) < 1


def test_pose_of_points_that_coincide_and_of_none():
    yaw, roll = pose(np.full((1, 5, 2), 7, np.float32))
    assert (yaw[0], roll[0]) == (0, 0)
    yaw, roll = pose(np.zeros((0, 5, 2), np.float32))
    assert yaw.shape == roll.shape == (0,)
    assert yaw.dtype == roll.dtype == np.float32


def test_sharpness_falls_with_blur():
    from PIL import Image, ImageFilter

    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    values = [
        sharpness(np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(radius))))
        for radius in (0, 1, 2, 4)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 100 > values[-1]
    assert sharpness(np.full((112, 112, 3), 90, np.uint8)) == 0


def test_quality_is_pulled_down_by_each_measure():
    def one(score=1.0, size=200.0, sharp=500.0, yaw=0.0):
        return float(quality(*(np.array([v], np.float32) for v in (score, size, sharp, yaw)))[0])

    assert one() == pytest.approx(1)
    assert one(score=0.7) < 1
    assert one(size=40) < one(size=80) < 1
    assert one(sharp=10) < 1
    assert one(yaw=-50) == pytest.approx(one(yaw=50))
    assert one(yaw=50) < 1
    assert one(sharp=0) == one(size=-3) == 0
    assert one(yaw=90) == one(yaw=120) == pytest.approx(0, abs=0.03)
