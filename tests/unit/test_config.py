from dataclasses import FrozenInstanceError

import pytest

from pipeline.config import DecodeConfig, DetectConfig, IndexConfig, PoolConfig, ReadConfig
from pipeline.errors import ConfigError


def test_defaults_are_those_of_the_reference():
    config = IndexConfig(("photos",), "lake")
    assert config.detect.min_face_px == 20
    assert config.detect.thresholds == (0.6, 0.7, 0.7)
    assert config.detect.factor == 0.709
    assert config.detect.selection == "all"
    assert config.decode.max_pixels == 200_000_000
    with pytest.raises(FrozenInstanceError):
        config.output = "other"


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: DetectConfig(min_face_px=0.5), "min_face_px"),
        (lambda: DetectConfig(min_face_px=float("nan")), "min_face_px"),
        (lambda: DetectConfig(thresholds=(0.6, 0.7)), "thresholds"),
        (lambda: DetectConfig(thresholds=(0.6, 0.7, 1.1)), "thresholds"),
        (lambda: DetectConfig(factor=1), "factor"),
        (lambda: DetectConfig(factor=0), "factor"),
        (lambda: DetectConfig(selection="best"), "largest, most-probable"),
        (lambda: DetectConfig(detection_side=11), "detection_side"),
        (lambda: DetectConfig(batch_pixels=0), "batch_pixels"),
        (lambda: ReadConfig(max_bytes=0), "max_bytes"),
        (lambda: PoolConfig(detect_actors=0), "detect_actors"),
        (lambda: PoolConfig(embed_batch=0), "embed_batch"),
        (lambda: PoolConfig(part_images=-1), "part_images"),
        (lambda: PoolConfig(embed_gpus=-0.1), "embed_gpus"),
        (lambda: IndexConfig((), "lake"), "no input"),
        (lambda: IndexConfig(("photos", ""), "lake"), "an input is empty"),
        (lambda: IndexConfig(("photos",), ""), "no output"),
        (lambda: DecodeConfig(max_pixels=0), "max_pixels"),
        (lambda: DecodeConfig(timeout_s=0), "timeout_s"),
        (lambda: DecodeConfig(timeout_s=float("nan")), "timeout_s"),
        (lambda: DecodeConfig(timeout_s=float("inf")), "timeout_s"),
        (lambda: DecodeConfig(memory_bytes=10**6), "memory_bytes"),
        (lambda: IndexConfig(("photos",), "lake", device="tpu"), "auto, cpu, cuda"),
    ],
)
def test_what_is_out_of_range_is_named(make, word):
    with pytest.raises(ConfigError, match=word) as caught:
        make()
    assert caught.value.exit_code == 2
