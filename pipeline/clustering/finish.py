"""The last steps of a clustering: corrections obeyed, weak faces joined, certainty measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import similarity
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.threshold import Threshold
from pipeline.clustering.algorithms.tiers import ATTACH, CORE
from pipeline.clustering.context import Context
from pipeline.clustering.evidence import Confirmed
from pipeline.clustering.gather import Faces, rows_of
from pipeline.clustering.level import search_level
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past
from pipeline.clustering.shards import put_shard
from pipeline.clustering.singles import Known, join_singles, measure_odds
from pipeline.clustering.support import supported
from pipeline.lake.checkpoints import Workspace

GROUP_SHARD = 131_072
LIKE_NOBODY = "unlike every person that it could join"


@dataclass(frozen=True)
class Groups:
    """The level of groups: of faces first, people of the past behind them.

    Attributes:
        of_face: group of each core face, int64 [N], `NOBODY` for others.
        merged: lowest group of what each group became, int64 [G].
        nearest: similar groups of others, int64 [G, 3].
        merges: doubtful joins of groups: first, second, cosine, needed.
        means, counts, ranks: of the groups.
        size: groups of faces; the others are people of the past.
        level: threshold of the level.
    """

    of_face: Ints
    merged: Ints
    nearest: Ints
    merges: Floats64
    means: np.ndarray
    counts: Floats64
    ranks: Ints
    size: int
    level: Threshold


@dataclass(frozen=True)
class Numbered:
    """People, numbered in the order of their names.

    Attributes:
        names: a face row each, or a place among those of the past, int64 [P].
        place: number of each core face's person, those of the past behind them.
        sizes, means: float64 [P] and grid vectors [P, D].
    """

    names: Ints
    place: Ints
    sizes: Floats64
    means: np.ndarray

    def numbers(self, names: Ints) -> Ints:
        """Return the number of each name."""
        return np.minimum(np.searchsorted(self.names, names), len(self.names) - 1)

    def near(self, name_of: Ints, groups: Ints) -> Ints:
        """Return the number of each group's person, `NOBODY` where there is no group."""
        return np.where(groups == NOBODY, NOBODY, self.numbers(name_of)[groups])


def people_of(
    work: Workspace, faces: Faces, core: Ints, label: Ints, old_label: Ints, past: Past
) -> Numbered:
    """Number the people of the core faces and of the past."""
    named = np.concatenate([label[core], old_label])
    persons, place = np.unique(named, return_inverse=True)
    weights = np.concatenate([np.ones(len(core)), past.counts])
    sizes = np.bincount(place, weights=weights, minlength=len(persons)).astype(np.float64)
    means = person_means(work, faces, core, place, sizes, past, len(persons))
    return Numbered(persons, place, sizes, means)


def finish(
    run: Context, work: Workspace, faces: Faces, tier: np.ndarray, reasons: list[str | None],
    groups: "Groups", links: Mapping[str, Any], confirmed: Confirmed, past: Past,
) -> Outcome:  # fmt: skip
    """Obey corrections, let weak faces join, and measure how sure everything is."""
    of_face = groups.of_face
    label = np.full(len(tier), NOBODY)
    core = np.flatnonzero(tier == CORE)
    # A person is named by a face row, or by its place among those of the past, behind them.
    lowest = np.full(len(groups.merged), NOBODY)
    old = len(tier) + np.arange(len(past.counts))
    lowest[groups.size :] = old
    first_rows = core[np.argsort(of_face[core], kind="stable")]
    at = np.flatnonzero(np.diff(of_face[first_rows], prepend=-1))
    lowest[of_face[first_rows[at]]] = first_rows[at]
    label[core] = lowest[groups.merged[of_face[core]]]
    said = [row for rows in confirmed.rows for row in rows]
    label = supported(
        work, links["files"], links["face"], label, float(groups.level.cosine()),
        np.array(said, np.int64), links["conflicts"],
    )  # fmt: skip
    label[core] = confirmed.together(label)[core]
    old_label = lowest[groups.merged[groups.size :]]
    rank = links["rank"]
    people = people_of(work, faces, core, label, old_label, past)
    near = groups.nearest[of_face[core]]
    known = Known(core, people.place[: len(core)], rank, people.sizes, people.means)
    odds = past.odds if past.people else measure_odds(work, faces, known, groups.level)
    joined = known.person
    if odds is not None:
        joined = join_singles(
            work, faces, known, people.near(lowest[groups.merged], near), groups.level, odds,
            np.array(said, np.int64), links["conflicts"],
        )  # fmt: skip
    run.about["odds"] = None if odds is None else asdict(odds)
    if (joined != known.person).any():
        label[core] = people.names[joined]
        people = people_of(work, faces, core, label, old_label, past)
    persons, sizes, means = people.names, people.sizes, people.means
    work.save_large("people-means", means)
    of = np.full(len(tier), NOBODY)
    of[core] = people.place[: len(core)]
    alternatives = np.full((len(tier), groups.nearest.shape[1]), NOBODY)
    to_person = people.numbers(lowest[groups.merged])
    alternatives[core] = people.near(lowest[groups.merged], near)
    weak = np.flatnonzero(tier == ATTACH)
    attach(run, work, faces, weak, means, sizes, of, alternatives, reasons, groups.level)
    shards = len(faces.starts) - 1
    units = [
        (i, of[faces.starts[i] : faces.starts[i + 1]],
         alternatives[faces.starts[i] : faces.starts[i + 1]])
        for i in range(shards)
    ]  # fmt: skip
    work.run(run.mapper, "scored", score_faces, units, run.progress)
    scored = [work.load(f"scored-{i:05}") for i in range(shards)]
    empty = np.zeros(0)
    own = np.concatenate([empty, *(s["own"] for s in scored)])
    other = np.concatenate([empty, *(s["other"] for s in scored)])
    return Outcome(
        faces=faces, tier=tier, reasons=reasons, of=of, own=own, other=other, sizes=sizes,
        means=means, old=np.searchsorted(persons, old_label), level=groups.level,
        merges=groups.merges, to_person=to_person, nearest=groups.nearest,
        group_means=groups.means, group_counts=groups.counts, group_faces=lowest,
        confirmed=confirmed,
    )  # fmt: skip


def attach(
    run: Context, work: Workspace, faces: Faces, weak: Ints, means: np.ndarray, sizes: Floats64,
    of: Ints, alternatives: Ints, reasons: list[str | None], level: Threshold,
) -> None:  # fmt: skip
    """Let weak faces join the person that they clearly prefer; changes `of`."""
    if not len(weak) or not len(means):
        return
    count = len(means)
    vectors = np.concatenate([means, rows_of(work, faces, weak)])
    total = len(vectors)
    starts = np.array([*range(0, total, GROUP_SHARD), total])
    person = np.arange(total) < count
    sized = np.concatenate([sizes, np.ones(len(weak))])
    for i, (a, b) in enumerate(pairwise(starts.tolist())):
        put_shard(work, "weak", i, vectors[a:b], {
            "rank": np.arange(a, b), "count": sized[a:b], "member": person[a:b],
            "query": ~person[a:b], "item": np.arange(a, b),
        })  # fmt: skip
    shape = run.shape("weak", starts)
    tasks, nodes = search_level(work, run.mapper, shape, level, run.progress)
    item = nodes.column("item")
    for i in range(tasks):
        edges = work.load(f"weak-edges-{i:05}")
        source, target = item[edges["source"]], item[edges["target"]]
        if not len(source):
            continue
        starts_of = np.flatnonzero(np.diff(source, prepend=-1))
        for a, b in zip(starts_of, np.append(starts_of[1:], len(source)), strict=True):
            row = weak[source[a] - count]
            best, cosine = target[a:b], edges["cosine"][a:b]
            needed = float(level.cosine(1, sizes[best[0]]))
            second = float(cosine[1]) if b - a > 1 else -1.0
            if cosine[0] >= needed and cosine[0] - second >= run.config.margin:
                of[row] = best[0]
                best = best[1:]
            rest = best[: alternatives.shape[1]]
            alternatives[row, : len(rest)] = rest
    for row in weak[of[weak] == NOBODY]:
        reasons[row] = f"{reasons[row]}; {LIKE_NOBODY}"


def score_faces(work: Workspace, name: str, shard: int, of: Ints, alternatives: Ints) -> None:
    """Leave each face's average cosine to its person, and to the best other one."""
    vectors = np.asarray(work.open_large(f"gather-{shard:05}-vectors"))
    means = work.open_large("people-means")
    own, other = np.full(len(of), np.nan), np.full(len(of), np.nan)
    mine = np.flatnonzero(of != NOBODY)
    own[mine] = similarity(vectors[mine], means[of[mine]])
    for column in alternatives.T:
        rows = np.flatnonzero((column != NOBODY) & (column != of))
        other[rows] = np.fmax(other[rows], similarity(vectors[rows], means[column[rows]]))
    work.save(name, {"own": own, "other": other})


def person_means(
    work: Workspace, faces: Faces, core: Ints, place: Ints, sizes: Floats64, past: Past, count: int
) -> np.ndarray:
    """Return the mean of each person's core faces and its own past, grid vectors [P, D]."""
    width = past.means.shape[1]
    sums = np.zeros((count, width))
    step = 50_000
    for start in range(0, len(core), step):
        rows = slice(start, min(start + step, len(core)))  # behind it stand those of the past
        order = np.argsort(place[rows], kind="stable")
        mine = place[rows][order]
        starts = np.flatnonzero(np.diff(mine, prepend=-1))
        vectors = rows_of(work, faces, core[rows])[order].astype(np.float64)
        if len(mine):
            sums[mine[starts]] += np.add.reduceat(vectors, starts, axis=0)
    old = place[len(core) : len(core) + len(past.counts)]
    np.add.at(sums, old, past.means * past.counts[:, None])
    means: np.ndarray = np.rint(sums / np.maximum(sizes, 1)[:, None]).astype(np.int16)
    return means
