"""Clusters a lake from its tables to its tables: the order of the steps.

gather -> tiers -> calibrate -> level of faces -> level of groups -> corrections -> weak faces join
-> confidence -> tables. What is heavy runs in tasks; this process holds some bytes a face.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.arrays import Ints
from pipeline.clustering.algorithms.grid import similarity
from pipeline.clustering.algorithms.linkage import NOBODY
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import (
    NORMAL,
    PRIOR_MEAN,
    PRIOR_SD,
    Threshold,
    calibrate,
    curve,
    describe,
)
from pipeline.clustering.algorithms.tiers import ATTACH, CORE, REJECTED, tiers
from pipeline.clustering.context import Context
from pipeline.clustering.copies import COUNTED, copied_faces, kept_photos
from pipeline.clustering.evidence import Confirmed, all_against, photo_conflicts
from pipeline.clustering.finish import GROUP_SHARD, Groups, finish
from pipeline.clustering.gather import Faces, gather, load_faces, plan_shards, rows_of, shard_of
from pipeline.clustering.level import Evidence, Progress, cluster_level, copy_weights, group_means
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past, look_back
from pipeline.clustering.shards import Sorted, mix, put_shard
from pipeline.clustering.tables import publish
from pipeline.dedupe.duplicates import Duplicates
from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import Mapper, Workspace
from pipeline.models.cards.card import known_cards
from pipeline.people.constraints import Constraint, Corrections
from pipeline.people.corrections import resolve
from pipeline.people.store import People

SAMPLE_FACES, SAMPLE_SHIFTS = 20_000, 25
WORK = "clusters/_work"
NOT_A_FACE = "somebody said that it is no face"


@dataclass
class Run:
    """One clustering: what every step needs.

    Attributes:
        about: figures of the run, for its manifest.
    """

    people: People
    config: ClusterConfig
    mapper: Mapper
    run_id: str
    progress: Progress = lambda *_: None
    about: dict[str, Any] = field(default_factory=dict)

    def cluster(self) -> dict[str, Any]:
        """Cluster, publish a generation, and return what is to be said about it.

        Raises:
            ConfigError: there is no lake, or no face in it.
            StorageError: the lake is broken, see `gather.verify`.
        """
        lake = self.people.lake
        lake.existing_models()
        # Read once: what somebody says while this runs is left to the next run.
        said = self.people.constraints()
        corrections = resolve(said)
        past = look_back(self.people, self.config, said)
        work = self._workspace(past, said)
        plan = plan_shards(lake, past.parts_done)
        shards: list[tuple[Any, ...]] = [(lake, parts, None) for parts in plan]
        if past.again:
            shards.append((lake, lake.parts(), past.again))
        work.run(self.mapper, "gather", gather, shards, self.progress)
        if not shards and past.people:  # nothing is new since
            return (self.people.current() or {}) | {"new_faces": 0, "incremental": True}
        copies = partial(kept_photos, Duplicates(lake))
        faces = load_faces(work, len(shards), copies) if shards else None
        if faces is None or not (len(faces.face_id) or past.people):
            raise ConfigError(f"There are no faces in {lake.folder.url}; index photos first")
        outcome = self._group(work, faces, corrections, past)
        about = self.about | {
            "settings": settings_of(self.config),
            "parts": part_sizes(self.people),
            "constraints": [row.constraint_id for row in said],
        }
        publish(self.people, self.run_id, outcome, past, about)
        work.remove()
        lake.folder.child(WORK).remove_if_empty()
        return about

    def _workspace(self, past: Past, said: Sequence[Constraint]) -> Workspace:
        """Return this run's work folder, that of a killed run with the same input included."""
        parent = self.people.lake.folder.child(WORK)
        rows = sorted(row.constraint_id for row in said)
        copies = Duplicates(self.people.lake).current()
        same = [
            asdict(self.config), part_sizes(self.people), rows, past.run_id,
            copies and copies["run_id"],
        ]  # fmt: skip
        key = hashlib.blake2b(json.dumps(same, sort_keys=True).encode(), digest_size=8).hexdigest()
        work = Workspace.only(parent, key)
        self.about["resumed_steps"] = len(work.names())
        return work

    def _group(
        self, work: Workspace, faces: Faces, corrections: Corrections, past: Past
    ) -> Outcome:
        tier, reasons = self._tiers(work, faces, corrections)
        order = np.argsort(faces.face_id, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        core = np.flatnonzero(tier == CORE)
        counts = np.diff(faces.starts)
        self._put(work, "faces", faces, core, rank)
        core_total = len(core) + past.core_faces
        threshold = self._calibrate(work, faces, core, rank, core_total, past)
        confirmed = Confirmed(corrections, {f.decode(): i for i, f in enumerate(faces.face_id)})
        starts = np.cumsum([0, *np.bincount(shard_of(faces, core), minlength=len(counts))])
        shape = self.context.shape("faces", starts)
        links: dict[str, Any] = {"rank": rank}

        def evidence(nodes: Sorted, tasks: int) -> Evidence:
            face = nodes.column("face")
            links["weight"] = copy_weights(work, shape, tasks)
            links["files"], links["face"] = tasks, face
            place = np.full(len(tier), NOBODY)
            place[face] = np.arange(len(face))
            pairs = photo_conflicts(faces.image_id[face], faces.box[face], nodes.rows)
            apart = place[confirmed.forbidden()]
            links["conflicts"] = face[pairs]
            return Evidence(
                confirmed.person(len(tier))[face],
                *all_against(pairs, apart[(apart != NOBODY).all(axis=1)]),
                links["weight"],
            )

        first, nodes = cluster_level(
            work, self.mapper, shape, threshold, evidence, self.config.penalty, self.progress
        )
        face = nodes.column("face")
        label = np.full(len(tier), NOBODY)
        label[face] = face[first.labels]
        label[face] = confirmed.together(label)[face]
        self.about |= {"recall": first.recall, "groups_of_faces": len(np.unique(label[face]))}
        groups = self._level_of_groups(
            work, faces, nodes, label, rank, threshold, confirmed, links, past
        )
        return finish(self.context, work, faces, tier, reasons, groups, links, confirmed, past)

    def _tiers(
        self, work: Workspace, faces: Faces, corrections: Corrections
    ) -> tuple[np.ndarray, list[str | None]]:
        values = {name: faces.measures[name].astype(np.float64) for name in faces.measures}
        tier, reasons = tiers(
            values["score"], values["size_px"], values["sharpness"], values["yaw"],
            self.config.tiers,
        )  # fmt: skip
        confirmed = {face for one in corrections.sets for face in one.faces}
        for i, face in enumerate(faces.face_id):
            name = face.decode()
            if name in corrections.rejected:
                tier[i], reasons[i] = REJECTED, NOT_A_FACE
            elif name in confirmed:  # somebody looked at it
                tier[i], reasons[i] = CORE, None
        for i in copied_faces(faces, tier, partial(rows_of, work, faces)).tolist():
            if faces.face_id[i].decode() not in confirmed:
                tier[i], reasons[i] = ATTACH, COUNTED
        return tier, reasons

    @property
    def context(self) -> Context:
        """What the steps need."""
        return Context(self.config, self.mapper, self.progress, self.about)

    def _put(self, work: Workspace, prefix: str, faces: Faces, rows: Ints, rank: Ints) -> None:
        shard = shard_of(faces, rows)
        units = [
            (i, rows[shard == i] - faces.starts[i], rows[shard == i], rank[rows[shard == i]])
            for i in range(len(faces.starts) - 1)
        ]
        work.run(self.mapper, f"{prefix}-nodes", put_faces, units, self.progress)

    def _calibrate(
        self, work: Workspace, faces: Faces, core: Ints, rank: Ints, total: int, past: Past
    ) -> Threshold:
        """Measure strangers on pairs of a sample; a run that adds keeps what was measured."""
        models = self.people.lake.models()
        card = known_cards().get(models.embedder.split("@")[0]) if models else None
        known = card.thresholds if card else {}
        prior = (known.get("impostor_mean", PRIOR_MEAN), known.get("impostor_sd", PRIOR_SD))
        if past.impostors:
            fixed = calibrate(
                np.zeros(0), total, self.config.false_neighbours, past.impostors,
                self.config.threshold,
            )  # fmt: skip
            self.about |= {"threshold": describe(fixed), "curve": past.curve}
            return fixed
        sample = core[np.argsort(mix(rank[core]), kind="stable")[:SAMPLE_FACES]]
        vectors = rows_of(work, faces, sample)
        shifts = range(1, min(SAMPLE_SHIFTS, len(sample) - 1) + 1)
        cosines = [similarity(vectors, np.roll(vectors, s, axis=0)) for s in shifts]
        values = np.concatenate([np.zeros(0), *cosines])
        threshold = calibrate(
            values, total, self.config.false_neighbours, prior, self.config.threshold
        )
        self.about |= {
            "threshold": describe(threshold),
            "curve": curve(threshold, values, total),
        }
        return threshold

    def _level_of_groups(
        self, work: Workspace, faces: Faces, nodes: Sorted, label: Ints, rank: Ints,
        threshold: Threshold, confirmed: Confirmed, links: Mapping[str, Any], past: Past,
    ) -> Groups:  # fmt: skip
        """Merge groups, and the people of the past, by their means."""
        face = nodes.column("face")
        names, means, counts, ranks = group_means(nodes, label[face], links["weight"])
        size = len(names)
        means = np.concatenate([means, past.means])
        counts = np.concatenate([counts, past.counts])
        ranks = np.concatenate([ranks, len(rank) + np.arange(len(past.counts))])
        total = len(means)
        starts = np.array([*range(0, total, GROUP_SHARD), total])
        new = np.arange(total) < size
        for i, (a, b) in enumerate(pairwise(starts.tolist())):
            put_shard(work, "groups", i, means[a:b], {
                "rank": ranks[a:b], "count": counts[a:b], "member": np.ones(b - a, bool),
                "query": new[a:b], "group": np.arange(a, b),
            })  # fmt: skip
        level = threshold
        if threshold.fixed is None:
            # A new group may meet every person of the past, so all of them count.
            rate = min(0.5, self.config.false_neighbours / max(2, total))
            level = threshold.at(-NORMAL.inv_cdf(rate))
        self.about["threshold_of_groups"] = describe(level)
        of_face = np.full(len(label), NOBODY)
        of_face[face] = np.searchsorted(names, label[face])
        person = np.full(total, NOBODY)
        known = confirmed.person(len(label))
        np.maximum.at(person, of_face[face], known[face])
        person[size:] = [confirmed.names.get(name or "", NOBODY) for name in past.names]
        apart = of_face[confirmed.forbidden()]
        apart = np.concatenate([apart[(apart != NOBODY).all(axis=1)], past.apart + size])
        pairs, against = all_against(of_face[links["conflicts"]], apart)

        def evidence(groups: Sorted, _: int) -> Evidence:
            group = groups.column("group")
            place = np.empty(total, np.int64)
            place[group] = np.arange(total)
            return Evidence(person[group], place[pairs], against)

        shape = self.context.shape("groups", starts)
        result, sorted_ = cluster_level(
            work, self.mapper, shape, level, evidence, self.config.penalty, self.progress
        )
        group = sorted_.column("group")
        merged = np.empty(total, np.int64)
        merged[group] = group[result.labels]
        nearest = np.full((total, result.nearest.shape[1]), NOBODY)
        nearest[group] = np.where(result.nearest == NOBODY, NOBODY, group[result.nearest])
        merges = result.merges.copy()
        merges[:, :2] = group[merges[:, :2].astype(np.int64)]
        self.about["recall_of_groups"] = result.recall
        return Groups(of_face, merged, nearest, merges, means, counts, ranks, size, level)


def put_faces(
    work: Workspace, name: str, shard: int, places: Ints, faces: Ints, ranks: Ints
) -> None:
    """Leave the core faces of one gathered shard as nodes."""
    vectors = work.open_large(f"gather-{shard:05}-vectors")
    there = np.ones(len(faces), bool)
    put_shard(work, name.rsplit("-", 2)[0], shard, vectors[places], {
        "rank": ranks, "count": np.ones(len(faces)), "member": there, "query": there,
        "face": faces,
    })  # fmt: skip


def settings_of(config: ClusterConfig) -> Mapping[str, Any]:
    """Return what a run must have in common with the one before to add to its people."""
    settings = asdict(config)
    for name in ("full", "device"):
        del settings[name]
    return settings


def part_sizes(people: People) -> dict[str, int]:
    """Return the parts of the lake that have faces files, with their sizes."""
    sizes = people.lake.folder.child("faces").files()
    return {name: sizes[name] for name in people.lake.parts()}
