"""Divides labelled faces by image, so that no image is on both sides."""

import numpy as np

from pipeline.arrays import Bools, Ints

# Of each person, to learn from.
LEAST_TRAIN = 2


def images_of(person: Ints, image: Ints) -> Ints:
    """Return how many different images each person is on, [P].

    Args:
        person: number of the person of each face, [N], from 0.
        image: number of the image of each face, [N]; copies of a picture have the same one.
    """
    return np.bincount(_pairs(person, image)[:, 0]).astype(np.int64)


def test_images(person: Ints, image: Ints, share: float, seed: int) -> Bools:
    """Return which faces are for the test, [N]: about `share` of each person's images.

    Each person keeps two images to learn from, and has one for the test if there are three. People
    who are on images together may get fewer for the test than their share.
    """
    images = images_of(person, image)
    quota = np.minimum(np.maximum(1, np.rint(share * images)), np.maximum(images - LEAST_TRAIN, 0))
    taken = np.zeros(len(images), np.int64)
    chosen = []
    for number, people in _shuffled(person, image, seed):
        if (taken[people] < quota[people]).all():
            taken[people] += 1
            chosen.append(number)
    return np.isin(image, np.array(chosen, np.int64))


def folds(person: Ints, image: Ints, count: int, seed: int) -> Ints:
    """Return the fold of each face, [N], from 0: each person's images are spread evenly."""
    fold_of: dict[int, int] = {}
    held = np.zeros((int(person.max()) + 1, count), np.int64)
    for number, people in _shuffled(person, image, seed):
        fold_of[number] = int(np.argmin(held[people].sum(axis=0)))
        held[people, fold_of[number]] += 1
    return np.array([fold_of[number] for number in image.tolist()], np.int64)


def _pairs(person: Ints, image: Ints) -> Ints:
    pairs: Ints = np.unique(np.stack([person, image], axis=1), axis=0)
    return pairs


def _shuffled(person: Ints, image: Ints, seed: int) -> list[tuple[int, Ints]]:
    """Return each image, in random order, and the people on it."""
    people: dict[int, list[int]] = {}
    for who, number in _pairs(person, image).tolist():
        people.setdefault(number, []).append(who)
    numbers = sorted(people)
    order = np.random.default_rng(seed).permutation(len(numbers))
    return [(numbers[k], np.array(people[numbers[k]], np.int64)) for k in order]
