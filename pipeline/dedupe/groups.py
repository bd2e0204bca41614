"""Groups the pictures of a lake: classes of equal pixels, stars of copies, bursts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.arrays import Bools, Bytes, Ints
from pipeline.dedupe.algorithms.bursts import are_shots, bursts
from pipeline.dedupe.algorithms.dihedral import Turn
from pipeline.dedupe.algorithms.hamming import Pairs
from pipeline.dedupe.algorithms.keeper import Preference
from pipeline.dedupe.algorithms.pictures import Hashes, Pictures
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.algorithms.stars import Graph, Lists, Near, Stars, stars

# A copy that is kept has at least half the pixels of those that may go.
MOST_PIXELS = 2


def plain_hashes(pictures: Pictures) -> Hashes:
    """Return the hashes of all pictures, those inside bars included."""
    pieces = zip(*hash_columns(pictures, turnable=False), strict=True)
    rows, hashes = map(np.concatenate, pieces)
    return Hashes.of(hashes, rows)


def turnable_hashes(pictures: Pictures) -> Hashes:
    """Return the hashes of all pictures that can be mirrored and turned."""
    ((rows, hashes),) = hash_columns(pictures, turnable=True)
    return Hashes.of(hashes, rows)


def hash_columns(pictures: Pictures, turnable: bool) -> Iterator[tuple[Ints, Bytes]]:
    """Yield pictures and their hashes, uint8 [N, 32], of one kind, a column at a time."""
    if turnable:
        rows = np.flatnonzero(pictures.has_phash & pictures.turnable.any(axis=1))
        yield rows, pictures.turnable[rows]
        return
    for has, column in ((pictures.has_phash, pictures.phash), (pictures.has_inner, pictures.inner)):
        rows = np.flatnonzero(has)
        yield rows, column[rows]


@dataclass(frozen=True)
class HashPairs:
    """Pairs of close hashes of one kind.

    Attributes:
        hashes: that they are numbers of.
        pairs: by what was done to one of them; None: nothing.
    """

    hashes: Hashes
    pairs: Mapping[Turn | None, Pairs]


@dataclass(frozen=True)
class Groups:
    """The groups of an archive.

    Attributes:
        pictures: as compared.
        classes: of equal pixels, of each picture.
        best: best picture of each class.
        stars: groups of classes.
        burst: of each picture, -1 for none.
        preference: the order among pictures.
        ranks: place of each picture in it.
        turns: what each kind of evidence from 1 on is; 0 is none, those behind are crops and
            embeddings.
    """

    pictures: Pictures
    classes: Ints
    best: Ints
    stars: Stars
    burst: Ints
    preference: Preference
    ranks: Ints
    turns: tuple[Turn, ...]

    @property
    def kept(self) -> Ints:
        """The picture that is kept of the group of each picture, itself where it is alone."""
        kept: Ints = self.best[self.stars.kept[self.classes]]
        return kept


@dataclass(frozen=True)
class Evidence:
    """What makes pictures copies of each other.

    Attributes:
        plain: pairs of close hashes.
        turned: pairs of the other hashes, as they are and after one was mirrored or turned.
        crops: pairs of pictures, the second inside the first, int64 [P, 2].
        similar: pairs of pictures, the second like the first by an embedding, int64 [P, 2].
        apart: pairs of pictures that people told apart, int64 [P, 2].
        chosen: when people chose a picture to be kept, see `apart.chosen`; None: none.
    """

    plain: HashPairs
    turned: HashPairs
    crops: Ints
    similar: Ints
    apart: Ints
    chosen: Ints | None = None


# (kept picture, others, bits, kinds) -> which of the others are its copies at a second look.
Confirm = Callable[[int, Ints, Ints, Ints], Bools]


def group(
    pictures: Pictures,
    classes: Ints,
    evidence: Evidence,
    config: DedupeConfig,
    confirm: Confirm | None = None,
) -> Groups:
    """Group pictures, of which `classes` have equal pixels."""
    count = int(classes.max()) + 1 if len(classes) else 0
    least = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(least, classes, pictures.bytes)
    pictures = replace(pictures, least_bytes=least[classes])
    preference = Preference(pictures, config.prefer, evidence.chosen)
    ranks = preference.ranks()
    order = np.argsort(ranks)
    best = np.empty(count, np.int64)
    best[classes[order[::-1]]] = order[::-1]
    turns = tuple(turn for turn in evidence.turned.pairs if turn is not None)
    nears = [*near(classes, count, evidence.plain), *near(classes, count, evidence.turned)]
    others = []
    for kind, pairs in enumerate((evidence.crops, evidence.similar), len(turns) + 1):
        ends = classes[pairs]
        others.append((kind, Lists.of(ends[:, 0], ends[:, 1], count)))
    graph = Graph(tuple(nears), tuple(others))

    apart = classes[np.concatenate([evidence.apart, evidence.apart[:, ::-1]])]
    barred = Lists.of(apart[:, 0], apart[:, 1], count)

    def may(class_: int, others: Ints, bits: Ints, kinds: Ints) -> Bools:
        kept, copies = int(best[class_]), best[others]
        # Whatever else speaks for a thumbnail or a cut file, it does not stand for the picture.
        fair: Bools = pictures.area[copies] <= MOST_PIXELS * pictures.area[kept]
        fair &= pictures.damaged_rows[copies] >= pictures.damaged_rows[kept]
        fair &= ~np.isin(others, barred[class_])
        if config.burst_s:
            fair &= ~are_shots(pictures, kept, copies, bits)
        if confirm is not None:
            fair[fair] = confirm(kept, copies[fair], bits[fair], kinds[fair])
        return fair

    weight = np.bincount(classes, minlength=count)
    grouped = stars(graph, ranks[best], config.max_group, weight, may)
    kept = best[grouped.kept[classes]]
    alone = np.flatnonzero(kept == np.arange(len(kept)))  # of copies, one counts
    burst = np.full(len(kept), -1, np.int64)
    burst[alone] = bursts(pictures.take(alone), config.burst_s, config.max_group)
    return Groups(pictures, classes, best, grouped, burst, preference, ranks, turns)


def near(classes: Ints, count: int, hash_pairs: HashPairs) -> Iterator[Near]:
    """Yield who may be a copy of whom, by each way of looking at hashes."""
    hashes = hash_pairs.hashes
    both = np.unique(np.stack([classes[hashes.picture], hashes.number], axis=1), axis=0)
    of_class = Lists.of(both[:, 0], both[:, 1], count)
    owners = Lists.of(both[:, 1], both[:, 0], len(hashes.values))
    for kind, (turn, pairs) in enumerate(hash_pairs.pairs.items()):
        yield Near.of(kind, of_class, owners, pairs, turn is None)
