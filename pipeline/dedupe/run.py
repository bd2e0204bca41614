"""Looks for duplicates in a lake: the order of the steps.

gather -> classes of equal pixels -> pairs of close hashes (tasks) -> shared faces -> stars, bursts
-> tables. The search is done by tasks; this process holds some hundred bytes a picture.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pipeline.arrays import Bools, Ints
from pipeline.dedupe import tables
from pipeline.dedupe.algorithms.dihedral import Turn, turns
from pipeline.dedupe.algorithms.hamming import Pairs
from pipeline.dedupe.algorithms.pictures import Pictures, classes, numbered
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.crops import find_crops
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.gather import binary, gather, hexes, load, plan_tasks
from pipeline.dedupe.groups import Found, Hashes, group, plain_hashes, turnable_hashes
from pipeline.dedupe.search import Progress, distinct, find_pairs
from pipeline.dedupe.similar import Similarity, find_similar
from pipeline.errors import ConfigError
from pipeline.imaging.phash import HASH_BYTES
from pipeline.lake.checkpoints import Mapper, TaskRunner, Workspace

WORK = "duplicates/_work"


@dataclass
class Run:
    """One search for duplicates: what every step needs.

    Attributes:
        about: figures of the run, for its manifest.
    """

    duplicates: Duplicates
    config: DedupeConfig
    mapper: Mapper
    run_id: str
    progress: Progress = lambda *_: None
    about: dict[str, Any] = field(default_factory=dict)

    def dedupe(self) -> dict[str, Any]:
        """Search, publish the table, and return what is to be said about it.

        Raises:
            ConfigError: there is no lake, or no picture in it.
            StorageError: a part cannot be read.
        """
        lake = self.duplicates.lake
        lake.existing_models()
        sizes = lake.folder.child("images").files()
        parts = {name: sizes[name] for name in lake.parts()}
        before = self.past(parts)
        work = self.workspace(parts, before)
        done = [name for name in parts if before and name in before["parts"]]
        fresh = [name for name in parts if name not in set(done)]
        plan = [(lake, part, self.config.reference) for part in plan_tasks(lake, done)]
        old_tasks = len(plan)
        plan += [(lake, part, self.config.reference) for part in plan_tasks(lake, fresh)]
        TaskRunner(work, self.mapper, self.progress).run("gather", gather, plan)
        if not plan:
            raise ConfigError(f"There are no images in {lake.folder.url}; index photos first")
        pictures = load(work, len(plan))
        if self.config.reference and not pictures.reference.any():
            raise ConfigError(
                f"No picture of {lake.folder.url} lies below {', '.join(self.config.reference)}; "
                "give --reference as the paths stand in `uri`"
            )
        first_new = sum(len(work.load(f"gather-{i:05}")["bytes"]) for i in range(old_tasks))
        kinds = turns(self.config.mirrored, self.config.rotated)
        plain = self.pairs(work, plain_hashes(pictures), (None,), first_new, before, "pictures")
        # The second hash finds what the first misses, small photos most of all: not only turned.
        turned = self.pairs(work, turnable_hashes(pictures), (None, *kinds), first_new, before)
        of = classes(pictures)
        newcomers = np.arange(len(pictures)) >= first_new
        tasks = [parts for _, parts, _ in plan]
        similar = self.similar(work, tasks, pictures, of)
        crops = self.crops(work, tasks, pictures, of, newcomers, before)
        found = group(pictures, of, plain, turned, crops, similar, self.config)
        rows = tables.rows(found, self.run_id)
        self.about |= {
            "settings": searched(self.config),
            "parts": parts,
            "images": len(pictures),
            "new_images": len(pictures) - first_new,
            "hashes": len(plain.hashes.values),
            "new_hashes": int(plain.hashes.new(first_new).sum()),
            "pairs": sum(len(p.bits) for one in (plain, turned) for p in one.pairs.values()),
            "kinds": tables.counts(rows),
            "bytes_of_copies": int(pictures.bytes[found.kept != np.arange(len(pictures))].sum()),
            "incremental": before is not None,
        }
        pair_rows = tables.pair_rows([plain, turned])
        crop_rows = tables.crop_rows(pictures, crops)
        self.duplicates.publish(self.run_id, rows, pair_rows, crop_rows, self.about)
        work.remove()
        lake.folder.child(WORK).remove_if_empty()
        return self.about

    def past(self, parts: Mapping[str, int]) -> dict[str, Any] | None:
        """Return what the last search left, if this one may build on it."""
        before = self.duplicates.current()
        if self.config.full or before is None or before.get("settings") != searched(self.config):
            return None
        # A part that was replaced is new; what is gone from the lake does no harm.
        done = before.get("parts", {})
        before["parts"] = {name for name, size in done.items() if parts.get(name) == size}
        before["whole"] = len(before["parts"]) == len(done)
        return before if before["parts"] else None

    def workspace(self, parts: Mapping[str, int], before: Mapping[str, Any] | None) -> Workspace:
        """Return this run's work folder, that of a killed run with the same input included."""
        same = [asdict(self.config), sorted(parts.items()), before and before["run_id"]]
        key = hashlib.blake2b(json.dumps(same).encode(), digest_size=8).hexdigest()
        work = Workspace.only(self.duplicates.lake.folder.child(WORK), key)
        self.about["resumed_steps"] = len(work.names())
        return work

    def pairs(
        self,
        work: Workspace,
        hashes: Hashes,
        ways: tuple[Turn | None, ...],
        first_new: int,
        before: Mapping[str, Any] | None,
        what: str = "turnable",
    ) -> Found:
        """Return the pairs of close hashes: those known before, and those with a new one."""
        new = hashes.new(first_new)
        found = find_pairs(
            work, self.mapper, hashes.values, new, self.config.radius, ways, self.progress, what
        )
        if before is None:
            return Found(hashes, found)
        known = self.known(hashes, ways)
        return Found(hashes, {w: distinct(Pairs.join([known[w], found[w]])) for w in ways})

    def crops(
        self,
        work: Workspace,
        tasks: list[list[str]],
        pictures: Pictures,
        of: Ints,
        new: Bools,
        before: Mapping[str, Any] | None,
    ) -> Ints:
        """Return pairs of pictures, the second inside the first: those known before, and new ones.

        One picture of each class speaks for it, the first; so that what an earlier run compared
        need not be compared again.
        """
        if not self.config.crops:
            return np.zeros((0, 2), np.int64)
        # Where pictures went, others speak for their classes that were never compared.
        if before is not None and not before["whole"]:
            before, new = None, np.ones(len(pictures), bool)
        chosen = speakers(of)
        lake = self.duplicates.lake
        found = find_crops(work, self.mapper, lake, tasks, pictures, chosen, new, self.progress)
        if before is None:
            return found
        table = self.duplicates.crops()
        ends = [hexes(table[name]) for name in ("first", "second")]
        number = numbered(np.concatenate([pictures.image_id, *ends]))
        place = np.full(int(number.max()) + 1, -1, np.int64)
        place[number[: len(pictures)]] = np.arange(len(pictures))
        known = place[number[len(pictures) :].reshape(2, -1).T]
        known = known[(known >= 0).all(axis=1)]
        return np.unique(np.concatenate([known, found]), axis=0)

    def similar(
        self, work: Workspace, tasks: list[list[str]], pictures: Pictures, of: Ints
    ) -> Ints:
        """Return pairs of pictures that are one by an image embedding, if one was named."""
        if self.config.model is None:
            return np.zeros((0, 2), np.int64)
        how = Similarity(self.config.model, self.config.model_cosine)
        parts = [part for task in tasks for part in task]
        lake = self.duplicates.lake
        return find_similar(
            work, self.mapper, lake, parts, pictures, speakers(of), how, self.progress
        )

    def known(self, hashes: Hashes, ways: tuple[Turn | None, ...]) -> dict[Turn | None, Pairs]:
        """Return the pairs of the last search as numbers of hashes; those gone are left out."""
        table = self.duplicates.pairs()
        ends = [binary(table[name], HASH_BYTES)[0] for name in ("first", "second")]
        count, total = len(table), len(hashes.values)
        # Numbers of all rows together give each hash of the table its place among the hashes.
        number = numbered(np.concatenate([hashes.values, *ends]))
        place = np.full(int(number.max()) + 1 if len(number) else 0, -1, np.int64)
        place[number[:total]] = np.arange(total)
        first, second = place[number[total : total + count]], place[number[total + count :]]
        bits = table["bits"].to_numpy().astype(np.int64)
        names = np.array(table["turn"].to_pylist(), object)
        there = (first >= 0) & (second >= 0)
        out = {}
        for turn in ways:
            mine = there & (names == (turn.name if turn else None))
            low, high = np.minimum(first, second)[mine], np.maximum(first, second)[mine]
            out[turn] = Pairs(low, high, bits[mine])
        return out


def speakers(classes: Ints) -> Bools:
    """Return the first picture of each class, which speaks for it."""
    chosen = np.zeros(len(classes), bool)
    chosen[np.unique(classes, return_index=True)[1]] = True
    return chosen


def searched(config: DedupeConfig) -> dict[str, Any]:
    """Return what a run must have in common with the one before to build on its pairs."""
    return {name: getattr(config, name) for name in ("radius", "mirrored", "rotated", "crops")}
