"""Average linkage by rounds: nodes merge with their best neighbours at falling thresholds.

After Sub-Cluster Component clustering (Monath et al., "Scalable Hierarchical Agglomerative
Clustering", KDD 2021, arXiv 2010.11821). The average cosine of two groups is the dot product of
their mean vectors, so a group is a sum and a count, and memory is linear. A round joins only pairs
that are each other's best, and nodes whose best is in such a pair: no chain grows longer than that
before averages are taken again, which is what keeps a blurred face from bridging two people.
"""

from dataclasses import dataclass, field

import numpy as np

from pipeline.arrays import Bools, Floats64, Ints
from pipeline.clustering.algorithms.grid import UNIT, Grid
from pipeline.clustering.algorithms.threshold import Threshold

# Thresholds from "surely one person" down to the calibrated one.
LEVELS = 16
# Edges whose sums are gathered at once: 64 MB of 512 numbers.
GATHER = 8192
HIGHEST = 0.9
SAME_PHOTO_PENALTY = 0.10
NOBODY = -1
FORBIDDEN = np.inf


def no_pairs() -> Ints:
    """Return an empty list of pairs, int64 [0, 2]."""
    return np.zeros((0, 2), np.int64)


@dataclass
class Nodes:
    """Faces, or groups of faces, that are to be merged.

    Attributes:
        sums: sum of the node's grid vectors, float64 [N, D] of whole numbers.
        counts: how many vectors that are, float64 [N].
        person: number of the confirmed person, or `NOBODY`, int64 [N]; two never merge.
        edges: pairs of nodes that may merge, int64 [E, 2].
        cosines: of the edges where they are known, float64 [E]; empty: computed.
        conflicts: pairs of nodes with evidence against merging, int64 [C, 2].
        against: how many pictures speak against it, float64 [C]; `FORBIDDEN` for never.
    """

    sums: Floats64
    counts: Floats64
    person: Ints
    edges: Ints
    cosines: Floats64 = field(default_factory=lambda: np.zeros(0))
    conflicts: Ints = field(default_factory=no_pairs)
    against: Floats64 = field(default_factory=lambda: np.zeros(0))

    @staticmethod
    def of_vectors(vectors: Grid, edges: Ints, person: Ints | None = None) -> "Nodes":
        """Return a node for each grid vector."""
        size = len(vectors)
        nobody = np.full(size, NOBODY, np.int64)
        return Nodes(
            vectors.astype(np.float64), np.ones(size), nobody if person is None else person, edges
        )


@dataclass(frozen=True)
class Merge:
    """Pairs of nodes as they were joined, for review: roots, cosine and what it had to reach."""

    first: Ints
    second: Ints
    cosine: Floats64
    needed: Floats64


@dataclass(frozen=True)
class Linked:
    """Result of `link`.

    Attributes:
        labels: for each node the lowest node of its group, int64 [N].
        merges: what was joined near the threshold, in order.
    """

    labels: Ints
    merges: list[Merge]


def link(nodes: Nodes, threshold: Threshold, penalty: float = SAME_PHOTO_PENALTY) -> Linked:
    """Merge nodes by average linkage down to `threshold`.

    Nodes are to be numbered in an order that does not depend on how they came: ties go to the
    lowest number. The result does not depend on the order of edges.
    """
    state = _State(nodes, threshold, penalty)
    highest = (HIGHEST - threshold.mean) / threshold.sd
    for z in np.linspace(max(highest, threshold.z), threshold.z, LEVELS):
        while state.merge(float(z)):
            pass
    return Linked(state.labels(), state.merges)


class _State:
    """Groups so far; a group goes by the lowest node in it."""

    def __init__(self, nodes: Nodes, threshold: Threshold, penalty: float) -> None:
        self.threshold, self.penalty = threshold, penalty
        self.sums, self.counts = nodes.sums.copy(), nodes.counts.copy()
        self.person = nodes.person.copy()
        self.parent = np.arange(len(nodes.counts))
        self.conflicts, self.against = _unique_sums(nodes.conflicts, nodes.against)
        if len(nodes.cosines):
            pairs = np.sort(nodes.edges, axis=1)
            _, first = np.unique(_keys(pairs), return_index=True)
            different = pairs[first, 0] != pairs[first, 1]
            self.edges = pairs[first][different]
            self.cosine = nodes.cosines[first][different]
        else:
            self.edges = _unique(nodes.edges)
            self.cosine = self._cosines(self.edges)
        # Deviations of each edge above strangers, -inf where merging is forbidden; kept, because in
        # most rounds most edges stay as they are.
        self.strength = self._strengths(self.edges, self.cosine)
        self.merges: list[Merge] = []

    def _cosines(self, edges: Ints) -> Floats64:
        cosine = np.empty(len(edges))
        for start in range(0, len(edges), GATHER):
            a, b = edges[start : start + GATHER].T
            dots = np.einsum("ed,ed->e", self.sums[a], self.sums[b])
            cosine[start : start + GATHER] = dots / (self.counts[a] * self.counts[b] * UNIT)
        return cosine

    def _strengths(self, edges: Ints, cosine: Floats64) -> Floats64:
        a, b = edges.T
        if len(self.conflicts):
            keys = _keys(self.conflicts)
            at = np.minimum(np.searchsorted(keys, _keys(edges)), len(keys) - 1)
            against = np.where(keys[at] == _keys(edges), self.against[at], 0.0)
            smaller = np.minimum(self.counts[a], self.counts[b])
            share = np.where(np.isinf(against), np.inf, np.minimum(1.0, against / smaller))
            with np.errstate(invalid="ignore"):
                lowered = cosine - np.where(share > 0, share * self.penalty, 0.0)
            cosine = np.where(np.isinf(share), -np.inf, lowered)
        z = self.threshold.standardise(cosine, self.counts[a], self.counts[b])
        first, second = self.person[a], self.person[b]
        strangers = (first != NOBODY) & (second != NOBODY) & (first != second)
        return np.where(strangers, -np.inf, z)

    def merge(self, z: float) -> bool:
        """Do one round at `z`, and return whether anything was joined."""
        strength = self.strength
        strong = np.flatnonzero(strength >= z)
        if not len(strong):
            return False
        best = self._best(strong, strength)
        followers = np.flatnonzero(best != NOBODY)
        edge = best[followers]
        target = self.edges[edge].sum(axis=1) - followers
        mutual = best[target] == edge
        pairs = np.unique(edge[mutual])
        root = np.full(len(self.parent), NOBODY)
        low, high = self.edges[pairs].T
        root[low] = root[high] = low
        # Those whose best is in a pair come along, if they are like both together.
        late = ~mutual & (root[target] != NOBODY)
        joined, through = followers[late], edge[late]
        goal = root[target[late]]
        root_before = root.copy()
        fits = self._fits(joined, goal, root_before, z)
        joined, goal, through = joined[fits], goal[fits], through[fits]
        joined, goal, through = self._compatible(joined, goal, through, root_before, strength)
        root[joined] = goal
        self._note(np.concatenate([pairs, through]), strength)
        self._apply(root)
        return True

    def _best(self, strong: Ints, strength: Floats64) -> Ints:
        """Return for each node its strongest edge; of equal ones that to the lowest node."""
        a, b = self.edges[strong].T
        ends = np.concatenate([a, b])
        others = np.concatenate([b, a])
        which = np.concatenate([strong, strong])
        order = np.lexsort((others, -strength[which], ends))
        first = np.flatnonzero(np.diff(ends[order], prepend=-1))
        best = np.full(len(self.parent), NOBODY)
        best[ends[order][first]] = which[order][first]
        return best

    def _fits(self, joined: Ints, goal: Ints, root: Ints, z: float) -> Bools:
        """Return whether nodes reach `z` against the whole pair that they would join."""
        partner = np.zeros(len(self.parent), np.int64)
        members = np.flatnonzero(root != NOBODY)
        others = members[root[members] != members]
        partner[root[others]] = others
        a, b = goal, partner[goal]
        sums, counts = self.sums[a] + self.sums[b], self.counts[a] + self.counts[b]
        dots = np.einsum("nd,nd->n", self.sums[joined], sums)
        cosine = dots / (self.counts[joined] * counts * UNIT)
        fits: Bools = self.threshold.standardise(cosine, self.counts[joined], counts) >= z
        return fits

    def _compatible(
        self, joined: Ints, goal: Ints, through: Ints, root: Ints, strength: Floats64
    ) -> tuple[Ints, Ints, Ints]:
        """Drop followers that a confirmed person or a forbidden pair keeps out.

        Where conflicts or persons are involved, only the strongest follower of a pair joins in
        a round: what it brings along is seen by the next one.
        """
        delicate = np.zeros(len(self.parent), bool)
        delicate[self.person != NOBODY] = True
        delicate[self.conflicts.reshape(-1)] = True
        order = np.lexsort((joined, -strength[through]))
        joined, goal, through = joined[order], goal[order], through[order]
        members = np.flatnonzero(root != NOBODY)
        tense = np.zeros(len(self.parent), bool)  # pairs that must stay as they are this round
        np.logical_or.at(tense, root[members], delicate[members])
        keep = ~delicate[joined] & ~tense[goal]
        return joined[keep], goal[keep], through[keep]

    def _note(self, edges: Ints, strength: Floats64) -> None:
        """Keep what was joined within one deviation of the threshold."""
        close = edges[strength[edges] < self.threshold.z + 1]
        if len(close):
            a, b = self.edges[close].T
            needed = self.threshold.cosine(self.counts[a], self.counts[b])
            self.merges.append(Merge(a, b, self.cosine[close], needed))

    def _apply(self, root: Ints) -> None:
        moved = np.flatnonzero((root != NOBODY) & (root != np.arange(len(root))))
        goal = root[moved]
        # A group goes by its lowest node, which a late follower may be.
        lowest = np.arange(len(root))
        np.minimum.at(lowest, goal, moved)
        goals = np.unique(goal)
        home = np.arange(len(root))
        home[moved], home[goals] = lowest[goal], lowest[goals]
        members = np.concatenate([goals, moved])
        target = home[members]
        order = np.argsort(target, kind="stable")
        members, target = members[order], target[order]
        starts = np.flatnonzero(np.diff(target, prepend=-1))
        names = target[starts]
        self.sums[names] = np.add.reduceat(self.sums[members], starts, axis=0)
        self.counts[names] = np.add.reduceat(self.counts[members], starts)
        self.person[names] = np.maximum.reduceat(self.person[members], starts)
        self.parent = home[self.parent]
        if len(self.conflicts):
            self.conflicts, self.against = _unique_sums(home[self.conflicts], self.against)
        self._move_edges(home, members)

    def _move_edges(self, home: Ints, changed_nodes: Ints) -> None:
        """Replace the edges of groups that changed; those of others stay, in their order."""
        # Numba is slow to import: not for who needs a constant of this module.
        from pipeline.clustering.algorithms.kernels import part_stale

        changed = np.zeros(len(home), bool)
        changed[changed_nodes] = True
        stale = np.empty_like(self.edges)
        kept = part_stale(self.edges, self.cosine, self.strength, changed, stale)
        fresh = _unique(home[stale[: len(stale) - kept]])
        end = kept + len(fresh)
        cosine = self._cosines(fresh)
        self.edges, self.cosine = self.edges[:end], self.cosine[:end]
        self.strength = self.strength[:end]
        self.edges[kept:], self.cosine[kept:] = fresh, cosine
        self.strength[kept:] = self._strengths(fresh, cosine)

    def labels(self) -> Ints:
        return self.parent


def _keys(pairs: Ints) -> Ints:
    keys: Ints = (pairs[:, 0] << 32) | pairs[:, 1]
    return keys


def _ordered(pairs: Ints) -> Ints:
    """Return pairs (low, high) of different nodes."""
    ordered: Ints = np.sort(pairs, axis=1)
    different: Ints = ordered[ordered[:, 0] != ordered[:, 1]]
    return different


def _unique(pairs: Ints) -> Ints:
    keys = np.unique(_keys(_ordered(pairs)))
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)


def _unique_sums(pairs: Ints, values: Floats64) -> tuple[Ints, Floats64]:
    different = pairs[:, 0] != pairs[:, 1]
    ordered = np.sort(pairs[different], axis=1)
    keys, inverse = np.unique(_keys(ordered), return_inverse=True)
    sums = np.bincount(inverse, weights=values[different], minlength=len(keys)).astype(np.float64)
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1), sums
