"""The last steps of a clustering: corrections obeyed, weak faces joined, similarity measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import Grid, similarity
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.algorithms.tiers import CORE, Tiers
from pipeline.clustering.evidence import Confirmed
from pipeline.clustering.gather import Faces, sums_of
from pipeline.clustering.groups_level import Groups
from pipeline.clustering.level import ALTERNATIVES, SHARD_NODES, put_nodes, search_level
from pipeline.clustering.modes import halves
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past
from pipeline.clustering.shards import NodeColumns, NodeSet, gather_rows
from pipeline.clustering.singles import Assignment, join_singles, measure_odds
from pipeline.clustering.support import join_supported
from pipeline.lake.checkpoints import TaskRunner, Workspace
from pipeline.lake.shelf import chunks

LIKE_NOBODY = "unlike every person that it could join"


@dataclass(frozen=True)
class NumberedPeople:
    """People, numbered in the order of their names.

    Attributes:
        names: a face row each, or a place among those of the past behind the faces, int64 [P].
        assignment: of the core faces, by number.
        past: number of each person of the past.
    """

    names: Ints
    assignment: Assignment
    past: Ints

    def numbers(self, names: Ints) -> Ints:
        """Return the number of each name."""
        return np.minimum(np.searchsorted(self.names, names), len(self.names) - 1)

    def near(self, name_of: Ints, groups: Ints) -> Ints:
        """Return the number of each group's person, `NOBODY` where there is no group."""
        return np.where(groups == NOBODY, NOBODY, self.numbers(name_of)[groups])


@dataclass(frozen=True)
class ScoredFaces:
    """Average cosine of each face of a shard to its person, and to the best other one."""

    own: Floats64
    other: Floats64


def finish(
    tasks: TaskRunner, tiers: Tiers, groups: Groups, confirmed: Confirmed, past: Past,
    config: ClusterConfig,
) -> Outcome:  # fmt: skip
    """Obey corrections, let single and weak faces join, and measure every face's similarity."""
    faces, core = groups.face_groups.faces, tiers.core
    face_of_group = group_names(groups, core)
    name_of_group = face_of_group[groups.merged]
    label = np.full(len(tiers.tier), NOBODY)
    label[core] = name_of_group[groups.of_face[core]]
    cosine = float(replace(groups.threshold, extra=0.0).cosine())
    label = join_supported(groups.face_groups, label, cosine, confirmed.faces)
    label[core] = confirmed.together(label)[core]
    past_label = name_of_group[groups.size :]
    people = number_people(faces, core, label[core], past_label, past)

    def near(places: Ints | slice) -> Ints:
        """Return the people who are candidates for places in `core`."""
        return people.near(name_of_group, groups.nearest[groups.of_face[core[places]]])

    assignment, threshold = people.assignment, groups.threshold
    odds = past.odds if past.people else measure_odds(assignment, threshold)
    if odds is not None:
        joined = join_singles(
            assignment, near, threshold, odds, confirmed.faces, groups.face_groups.photo_pairs
        )  # fmt: skip
        if (joined != assignment.person).any():
            people = number_people(faces, core, people.names[joined], past_label, past)
            assignment = people.assignment
    person = np.full(len(tiers.tier), NOBODY)
    person[core] = assignment.person
    alternatives = faces.shelf.zeros("alternatives", len(person), np.int64, (ALTERNATIVES,))
    alternatives[tiers.tier != CORE] = NOBODY
    for part in chunks(len(core)):
        alternatives[core[part]] = near(part)
    weak = tiers.weak
    if len(weak) and len(assignment.means):
        person[weak], alternatives[weak] = attach(tasks, assignment, weak, threshold, config)
        for row in weak[person[weak] == NOBODY]:
            tiers.reasons[row] = f"{tiers.reasons[row]}; {LIKE_NOBODY}"
    scores = score(tasks, assignment, person, alternatives)
    return Outcome(
        faces=faces, tiers=tiers, person=person, own=scores.own, other=scores.other,
        sizes=assignment.sizes, means=assignment.means, past_person=people.past, groups=groups,
        person_of_group=people.numbers(name_of_group), face_of_group=face_of_group,
        confirmed=confirmed, odds=odds, halves=halves(assignment),
    )  # fmt: skip


def group_names(groups: Groups, core: Ints) -> Ints:
    """Return a name of each group: its first face, or its place in the past behind the faces."""
    names = np.full(len(groups.merged), NOBODY)
    names[groups.size :] = len(groups.of_face) + np.arange(len(groups.merged) - groups.size)
    by_group = core[np.argsort(groups.of_face[core], kind="stable")]
    first = by_group[np.flatnonzero(np.diff(groups.of_face[by_group], prepend=-1))]
    names[groups.of_face[first]] = first
    return names


def number_people(
    faces: Faces, core: Ints, label: Ints, past_label: Ints, past: Past
) -> NumberedPeople:
    """Number the people of the core faces, whom `label` names, and of the past."""
    names, place = np.unique(np.concatenate([label, past_label]), return_inverse=True)
    weights = np.concatenate([np.ones(len(core)), past.counts])
    sizes = np.bincount(place, weights=weights, minlength=len(names)).astype(np.float64)
    person, past_person = place[: len(core)], place[len(core) :]
    # Who has no new face, and was one person before, keeps his mean; the others' are made again.
    grown = np.bincount(past_person, minlength=len(names)) != 1
    grown[person] = True
    slot = np.cumsum(grown) - 1
    means: Grid = faces.shelf.zeros("means", len(names), np.int16, past.means.shape[1:])
    of_grown = np.flatnonzero(grown[past_person])

    def read(rows: Ints) -> Floats64:
        """Return the vectors of core faces, and the sums of persons of the past behind them."""
        sums = np.empty((len(rows), past.means.shape[1]))
        is_face = rows < len(core)
        sums[is_face] = faces.vectors(core[rows[is_face]])
        before = of_grown[rows[~is_face] - len(core)]
        sums[~is_face] = past.means[before] * past.counts[before, None]
        return sums

    owner = slot[np.concatenate([person, past_person[of_grown]])]
    numbers = np.flatnonzero(grown)
    for part, sums in sums_of(owner, len(numbers), read):
        whose = numbers[part]
        means[whose] = np.rint(sums / np.maximum(sizes[whose], 1)[:, None])
    same = np.flatnonzero(~grown[past_person] & (past.counts > 0))
    means[past_person[same]] = past.means[same]
    return NumberedPeople(names, Assignment(faces, core, person, sizes, means), past_person)


def attach(
    tasks: TaskRunner, people: Assignment, weak: Ints, threshold: Threshold, config: ClusterConfig
) -> tuple[Ints, Ints]:
    """Return the person that each weak face clearly prefers, if any, and other similar ones.

    Returns:
        int64 [W] and int64 [W, ALTERNATIVES], `NOBODY` where there is none.
    """
    count = len(people.means)
    vectors = (people.means, people.faces.vectors(weak))
    nodes = np.arange(count + len(weak))
    sizes = np.concatenate([people.sizes, np.ones(len(weak))])
    columns = NodeColumns(nodes, sizes, nodes < count, nodes >= count, nodes)
    starts = put_nodes(tasks.workspace, "weak", vectors, columns)
    graph = search_level(tasks, NodeSet.of("weak", starts, config), threshold)
    item = graph.nodes.item
    person = np.full(len(weak), NOBODY)
    alternatives = np.full((len(weak), ALTERNATIVES), NOBODY)
    for edges in graph.edges():
        if not len(edges.source):
            continue
        first = np.flatnonzero(np.diff(edges.source, prepend=-1))
        for a, b in zip(first, np.append(first[1:], len(edges.source)), strict=True):
            row = item[edges.source[a]] - count
            best, cosine = item[edges.target[a:b]], edges.cosine[a:b]
            needed = float(threshold.cosine(1, sizes[best[0]]))
            second = float(cosine[1]) if b - a > 1 else -1.0
            if cosine[0] >= needed and cosine[0] - second >= config.margin:
                person[row] = best[0]
                best = best[1:]
            others = best[:ALTERNATIVES]
            alternatives[row, : len(others)] = others
    return person, alternatives


def score(tasks: TaskRunner, people: Assignment, person: Ints, alternatives: Ints) -> ScoredFaces:
    """Return the similarity of all faces to their own and to other people."""
    means_starts = [*range(0, max(1, len(people.means)), SHARD_NODES), len(people.means)]
    for i, (first, last) in enumerate(pairwise(means_starts)):
        tasks.workspace.save_large(f"people-means-{i:05}", people.means[first:last])
    starts, shards = people.faces.starts, range(people.faces.shards)
    rows = [slice(starts[shard], starts[shard + 1]) for shard in shards]
    tasks.run("scored", score_faces, [
        (shard, means_starts, person[rows[shard]], alternatives[rows[shard]]) for shard in shards
    ])  # fmt: skip
    shelf, total = people.faces.shelf, len(person)
    scores = ScoredFaces(*(shelf.zeros(name, total, np.float64) for name in ("own", "other")))
    for shard in shards:
        of_shard = ScoredFaces(**tasks.workspace.load(f"scored-{shard:05}"))
        scores.own[rows[shard]], scores.other[rows[shard]] = of_shard.own, of_shard.other
    return scores


def score_faces(
    workspace: Workspace, name: str, shard: int, means_starts: Sequence[int], person: Ints,
    alternatives: Ints,
) -> None:  # fmt: skip
    """Leave the similarity of the faces of a shard."""
    vectors = np.asarray(workspace.open_large(f"gather-{shard:05}-vectors"))
    files = range(len(means_starts) - 1)
    means = [workspace.open_large(f"people-means-{i:05}") for i in files]
    starts = np.array(means_starts)
    own, other = np.full(len(person), np.nan), np.full(len(person), np.nan)
    rows = np.flatnonzero(person != NOBODY)
    own[rows] = similarity(vectors[rows], gather_rows(means, starts, person[rows]))
    for column in alternatives.T:
        rows = np.flatnonzero((column != NOBODY) & (column != person))
        of_column = gather_rows(means, starts, column[rows])
        other[rows] = np.fmax(other[rows], similarity(vectors[rows], of_column))
    workspace.save(name, vars(ScoredFaces(own, other)))
