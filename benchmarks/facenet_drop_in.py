"""`pipeline.facenet` against facenet-pytorch 2.6.0, call by call: results and speed.

    FACELAKE_DATA=... python -m benchmarks.facenet_drop_in [--wheel facenet_pytorch.whl]

Photos are PIL images, one at a time, of LFW also in batches. Both sides select and cut from what
they detected themselves. Where crops differ, ours is cut from the reference's box as well: then a
difference is one of cutting. Arrays take part if `opencv-python-headless` is installed.
"""

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.inception_parity import randomise
from benchmarks.reference import import_reference
from pipeline import facenet
from pipeline.models.facenet.drop_in.network import CLASSES
from pipeline.models.facenet.drop_in.selection import METHODS
from tests.support.data import examples, shards

MARGINS, SIZES = (0, 14, 40), (112, 160, 224)
NEAR_BOX_PX, NEAR_PROBABILITY = 0.01, 1e-4


class Tally:
    """Largest differences and counts by name, and the cases that differ."""

    def __init__(self, title: str) -> None:
        self.title, self.largest, self.counts = title, Counter(), Counter()
        self.cases: list[str] = []

    def difference(self, name: str, theirs: object, ours: object) -> float:
        """Add the largest difference of two arrays of one shape; infinite for two shapes."""
        theirs, ours = (np.asarray(x, np.float64) for x in (theirs, ours))
        value = np.abs(theirs - ours).max(initial=0) if theirs.shape == ours.shape else np.inf
        self.counts[name] += 1
        self.counts[f"{name} equal"] += value == 0
        self.largest[name] = max(self.largest[name], float(value))
        return float(value)

    def show(self) -> None:
        print(f"\n{self.title}: {self.counts['photos']} photos, {self.counts['faces']} faces")
        for name, value in self.largest.items():
            equal = f"{self.counts[f'{name} equal']} of {self.counts[name]} equal"
            print(f"  {name:34} largest difference {value:.2g}, {equal}")
        for text in self.cases:
            print(f"    {text}")


def cuts(mtcnn: object, image: Image.Image, boxes: object, options: dict[str, object]) -> object:
    """Return the faces in boxes with other options, which are attributes on both sides."""
    for name, value in options.items():
        setattr(mtcnn, name, value)
    return mtcnn.extract(image, boxes, None)  # type: ignore[attr-defined]


def same_faces(tally: Tally, name: str, theirs: tuple, ours: tuple) -> bool:
    """Compare boxes, probabilities and landmarks in their order."""
    if theirs[0] is None or ours[0] is None:
        if (theirs[0] is None) != (ours[0] is None):
            tally.cases.append(f"{name}: one side has no face")
        return False
    if len(theirs[0]) != len(ours[0]):
        tally.cases.append(f"{name}: {len(theirs[0])} faces against {len(ours[0])}")
        return False
    pairs = list(zip(("box, px", "probability", "landmark, px"), theirs, ours, strict=True))
    limits = (NEAR_BOX_PX, NEAR_PROBABILITY, NEAR_BOX_PX)
    off = [np.abs(np.asarray(a, float) - np.asarray(b, float)).max() for _, a, b in pairs]
    if any(value > limit for value, limit in zip(off, limits, strict=True)):
        tally.cases.append(f"{name}: differ by {off[0]:.2g} px, probabilities by {off[1]:.2g}")
        return False
    for part, a, b in pairs:
        tally.difference(part, a, b)
    return True


def mixed_up(method: str, found: tuple, selected: tuple) -> bool:
    """Whether box and probability are of two faces, a known defect of the reference."""
    if method != "largest_over_threshold" or selected[0] is None:
        return False
    place = np.flatnonzero((np.asarray(found[0]) == selected[0][0]).all(axis=1))[0]
    return found[1][place] != selected[1]


def compare_crops(tally: Tally, sides: tuple, image: Image.Image, boxes: tuple) -> None:
    """Compare the crops of all faces under every option."""
    for keep_all, post, margin, size in itertools.product(
        (True, False), (True, False), MARGINS, SIZES
    ):
        options = {"keep_all": keep_all, "post_process": post, "margin": margin, "image_size": size}
        theirs, ours = (
            cuts(side, image, box, options) for side, box in zip(sides, boxes, strict=True)
        )
        scale = 128 if post else 1
        value = tally.difference("crops, levels of 255", theirs * scale, ours * scale)
        if value:
            again = cuts(sides[1], image, boxes[0], options) * scale
            tally.difference("  of those, from the same boxes", theirs * scale, again)


def compare_photo(tally: Tally, name: str, image: Image.Image, sides: dict, turn: int) -> None:
    """Compare one photo: detection in both orders, the four selections, crops, one whole call."""
    tally.counts["photos"] += 1
    for largest in (False, True):
        pair = sides[largest]
        theirs, ours = (side.detect(image, landmarks=True) for side in pair)
        order = "largest first" if largest else "most probable first"
        if not same_faces(tally, f"{name}, {order}", theirs, ours):
            return
    tally.counts["faces"] += len(theirs[0])
    for method in METHODS:
        one, other = (
            side.select_boxes(*found, image, method=method)
            for side, found in zip(pair, (theirs, ours), strict=True)
        )
        if mixed_up(method, theirs, one):
            tally.cases.append(f"{name}, {method}: the reference mixes faces up, ours does not")
            assert not mixed_up(method, ours, other)
            continue
        same_faces(
            tally, f"{name}, {method}", (one[0], [one[1]], one[2]), (other[0], [other[1]], other[2])
        )
    compare_crops(tally, pair, image, (theirs[0], ours[0]))
    # all options take turns in whole calls, which search again
    combinations = list(itertools.product(METHODS, (True, False), (True, False), MARGINS, SIZES))
    method, keep_all, post, margin, size = combinations[turn * 31 % len(combinations)]
    for side in pair:
        side.selection_method, side.keep_all, side.post_process = method, keep_all, post
        side.margin, side.image_size = margin, size
    (faces, probs), (our_faces, our_probs) = (side(image, return_prob=True) for side in pair)
    if faces is None or our_faces is None:
        assert faces is our_faces is None, name
        return
    tally.difference("whole calls, crops, levels of 255", *(
        face * (128 if post else 1) for face in (faces, our_faces)))  # fmt: skip
    if method != "largest_over_threshold":
        tally.difference("whole calls, probabilities", probs, our_probs)


def compare_batches(reference, photos: list, size: int) -> Tally:
    """Compare calls on batches of one size, which is all that the reference takes."""
    tally = Tally(f"LFW, batches of {size}")
    theirs, ours = reference.MTCNN(keep_all=True), facenet.MTCNN(keep_all=True)
    for start in range(0, len(photos), size):
        names, images = zip(*photos[start : start + size], strict=True)
        found = [list(zip(*side.detect(list(images), landmarks=True), strict=True))
                 for side in (theirs, ours)]  # fmt: skip
        crops = [side(list(images)) for side in (theirs, ours)]
        for name, a, b, crop, ours_crop in zip(names, *found, *crops, strict=True):
            tally.counts["photos"] += 1
            if same_faces(tally, name, a, b):
                tally.counts["faces"] += len(a[0])
                tally.difference("crops, levels of 255", crop * 128, ours_crop * 128)
    return tally


@torch.inference_mode()
def compare_vectors(reference, sets: dict[str, list]) -> None:
    """Print the differences of vectors and logits, each side from photo to vector."""
    cutters = reference.MTCNN(), facenet.MTCNN()
    for classes in CLASSES.values():
        torch.manual_seed(classes)
        theirs = reference.InceptionResnetV1(classify=True, num_classes=classes).eval()
        randomise(theirs)
        ours = facenet.InceptionResnetV1(classify=True, num_classes=classes).eval()
        ours.load_state_dict(theirs.state_dict())
        theirs.load_state_dict(ours.state_dict())
        for title, photos in sets.items():
            tally = Tally(f"{title}, photo to vector, {classes} classes")
            for _, image in photos:
                crops = [side(image) for side in cutters]
                if crops[0] is None or crops[1] is None:
                    continue
                tally.counts["photos"] += 1
                tally.counts["faces"] += 1
                for kind, classify in (("unit vectors", False), ("logits, of the largest", True)):
                    theirs.classify = ours.classify = classify
                    a, b = (
                        net(face[None]) for net, face in zip((theirs, ours), crops, strict=True)
                    )
                    scale = a.abs().max() if classify else 1
                    if torch.equal(*crops):
                        tally.difference(kind, a / scale, b / scale)
                    else:
                        tally.difference(f"{kind}, where crops differ", a / scale, b / scale)
            tally.show()


def compare_arrays(reference, photos: list) -> None:
    """Print how far the reference's own crops of arrays and tensors are from those of images."""
    theirs, ours = reference.MTCNN(post_process=False), facenet.MTCNN(post_process=False)
    kinds = {"tensor": lambda image: torch.from_numpy(np.array(image)), "array": np.array}
    for kind, make in kinds.items():
        tally = Tally(f"crops of one photo given as image and as {kind}")
        for _, image in photos:
            try:
                crop = theirs(make(image))
            except NameError:
                print(f"{kind}: OpenCV is not installed")
                break
            if crop is not None:
                tally.counts["photos"] += 1
                tally.difference("reference", theirs(image), crop)
                tally.difference("ours", ours(image), ours(make(image)))
        else:
            tally.show()


def speed(title: str, quick_starts: dict, inputs: Iterable, rounds: int) -> None:
    """Print CPU seconds of the same lines on both sides, taking turns, and the ratio by round."""
    inputs = list(inputs)
    for run in quick_starts.values():
        run(inputs[0])
    ratios, total = [], dict.fromkeys(quick_starts, 0.0)
    for _ in range(rounds):
        seconds = dict.fromkeys(quick_starts, 0.0)
        for one in inputs:
            for side, run in quick_starts.items():
                began = time.process_time()
                run(one)
                seconds[side] += time.process_time() - began
        ratios.append(seconds["reference"] / seconds["ours"])
        for side, value in seconds.items():
            total[side] += value
    each = {side: 1e3 * value / rounds / len(inputs) for side, value in total.items()}
    print(f"{title}: reference {each['reference']:.0f} ms, ours {each['ours']:.0f} ms, "
          f"ratio {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


def compare_speed(reference, lfw: list, wild: list) -> None:
    """Time the quick start's lines: the whole, and the two calls alone."""
    print(f"\nCPU time of a call, one thread, torch {torch.__version__}")
    sides = {"reference": reference, "ours": facenet}
    cutters = {side: module.MTCNN() for side, module in sides.items()}
    networks = {side: module.InceptionResnetV1().eval() for side, module in sides.items()}

    def one(side):
        return lambda image: networks[side](cutters[side](image).unsqueeze(0))

    def batch(side):
        return lambda images: networks[side](
            torch.stack([face for face in cutters[side](images) if face is not None])
        )

    def crop(side):
        return lambda image: cutters[side](image)

    def embed(side):
        face = facenet.MTCNN()(lfw[0][1]).unsqueeze(0)
        return lambda _: networks[side](face)

    images = [image for _, image in lfw[:20]]
    speed("quick start, a photo of LFW", {s: one(s) for s in sides}, images, 5)
    speed("  mtcnn(img) alone", {s: crop(s) for s in sides}, images, 5)
    speed("  resnet(img_cropped) alone", {s: embed(s) for s in sides}, images, 5)
    batches = [images[:16], [image for _, image in lfw[20:36]]]
    speed("quick start, 16 photos of LFW", {s: batch(s) for s in sides}, batches, 5)
    large = [image for _, image in wild if cutters["ours"](image) is not None][:10]
    speed("quick start, a photo from the wild", {s: one(s) for s in sides}, large, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--lfw", type=int, default=500)
    parser.add_argument("--wild", type=int, default=200)
    parser.add_argument("--speed-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference = import_reference(options.wheel)

    def images(photos, count):
        return [(name, Image.fromarray(pixels)) for name, pixels in islice(photos, count)]

    sets = {
        "examples": images(examples(), None),
        "LFW": images(shards("lfw-dev"), options.lfw),
        "wild": images(shards("wild-dev"), options.wild),
    }
    if not options.speed_only:
        sides = {
            largest: [module.MTCNN(select_largest=largest) for module in (reference, facenet)]
            for largest in (False, True)
        }
        for title, photos in sets.items():
            tally = Tally(title)
            for turn, (name, image) in enumerate(photos):
                compare_photo(tally, name, image, sides, turn)
            tally.show()
        compare_batches(reference, sets["LFW"], 16).show()
        compare_vectors(reference, sets)
        compare_arrays(reference, sets["LFW"][:100])
    compare_speed(reference, sets["LFW"], sets["wild"])


if __name__ == "__main__":
    main()
