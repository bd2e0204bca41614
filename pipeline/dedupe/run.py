"""Looks for duplicates in a lake: the order of the steps.

gather -> classes of equal pixels -> pairs of close hashes (tasks) -> shared faces -> stars of what
a second look confirms, bursts -> tables. The search is done by tasks; this process holds some
hundred bytes a picture.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.dedupe import tables
from pipeline.dedupe.algorithms import looks
from pipeline.dedupe.algorithms.pictures import pixel_classes
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.apart import chosen, pairs_apart, parted, said_of_pictures
from pipeline.dedupe.confirm import Confirmation
from pipeline.dedupe.duplicates import CROPS, LOOKS, PAIRS, TABLE, Duplicates
from pipeline.dedupe.evidence import EvidenceSearch, Past
from pipeline.dedupe.gather import gather, load, plan_tasks
from pipeline.dedupe.groups import Evidence, group
from pipeline.errors import ConfigError
from pipeline.lake import schema
from pipeline.lake.checkpoints import Mapper, Progress, TaskRunner, Workspace
from pipeline.people.store import People

WORKSPACE = "duplicates/_work"


@dataclass(frozen=True)
class Run:
    """One search for duplicates.

    Attributes:
        duplicates: of the lake.
        config: settings.
        mapper: runs the tasks.
        run_id: of this run.
        progress: called whenever a task is finished.
    """

    duplicates: Duplicates
    config: DedupeConfig
    mapper: Mapper
    run_id: str
    progress: Progress = lambda *_: None

    def dedupe(self) -> dict[str, Any]:
        """Search, publish the table, and return the figures of the run.

        Raises:
            ConfigError: there is no lake, or no picture in it.
            StorageError: a part cannot be read.
        """
        lake = self.duplicates.lake
        lake.existing_models()
        sizes = lake.folder.child("images").files()
        parts = {name: sizes[name] for name in lake.parts()}
        past = self._past(parts)
        said = said_of_pictures(People(lake))
        said_ids = [row.constraint_id for row in said]
        workspace = self._workspace(parts, past, said_ids)
        resumed_steps = len(workspace.names())
        search = self._gather(TaskRunner(workspace, self.mapper, self.progress), parts, past)
        pictures = search.pictures
        apart = pairs_apart(said, pictures)
        classes = parted(pixel_classes(pictures), apart)
        evidence = replace(search.evidence(classes, apart), chosen=chosen(said, pictures))
        confirmation = self._confirmation(search, evidence, past)
        groups = group(pictures, classes, evidence, self.config, confirmation)
        while confirmation is not None and confirmation.read_missing():
            groups = group(pictures, classes, evidence, self.config, confirmation)
        rows = tables.rows(groups, self.run_id)
        hash_pairs = [evidence.plain, evidence.turned]
        plain = evidence.plain.hashes
        about = {
            "resumed_steps": resumed_steps,
            "settings": settings_of(self.config),
            "config": asdict(self.config) | {"full": False},
            "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "parts": parts,
            "told_apart": said_ids,
            "images": len(pictures),
            "new_images": len(pictures) - search.first_new,
            "hashes": len(plain.values),
            "new_hashes": int(plain.new(search.first_new).sum()),
            "pairs": sum(len(p.bits) for one in hash_pairs for p in one.pairs.values()),
            "kinds": tables.counts(rows),
            "bytes_of_copies": int(pictures.bytes[groups.kept != np.arange(len(pictures))].sum()),
            "incremental": past is not None,
        }
        about |= confirmation.counts() if confirmation else {}
        pair_rows = tables.pair_rows(hash_pairs)
        crop_rows = tables.crop_rows(pictures, evidence.crops)
        verdicts = confirmation.rows() if confirmation else schema.LOOKS.empty_table()
        published = {TABLE: rows, PAIRS: pair_rows, CROPS: crop_rows, LOOKS: verdicts}
        self.duplicates.publish(self.run_id, published, about)
        workspace.remove()
        lake.folder.child(WORKSPACE).remove_if_empty()
        return about

    def _confirmation(
        self, search: EvidenceSearch, evidence: Evidence, past: Past | None
    ) -> Confirmation | None:
        """Return what looks at near copies again, with what it said before."""
        if not self.config.confirm:
            return None
        turns = tuple(turn for turn in evidence.turned.pairs if turn is not None)
        lake = self.duplicates.lake
        confirmation = Confirmation(search.tasks, lake, search.parts, search.pictures, turns)
        if past is not None:
            confirmation.remember(self.duplicates.looks())
        return confirmation

    def _past(self, parts: Mapping[str, int]) -> Past | None:
        """Return the last search, if this one may build on it."""
        before = self.duplicates.current()
        if self.config.full or before is None or before.get("settings") != settings_of(self.config):
            return None
        # A part that was replaced is new; what is gone from the lake does no harm.
        compared: Mapping[str, int] = before.get("parts", {})
        same = frozenset(name for name, size in compared.items() if parts.get(name) == size)
        return Past(before["run_id"], same, len(same) == len(compared)) if same else None

    def _workspace(
        self, parts: Mapping[str, int], past: Past | None, said_ids: Sequence[str]
    ) -> Workspace:
        """Return this run's work folder, that of a killed run with the same input included."""
        same = [asdict(self.config), sorted(parts.items()), past and past.run_id, said_ids]
        key = hashlib.blake2b(json.dumps(same).encode(), digest_size=8).hexdigest()
        return Workspace.only(self.duplicates.lake.folder.child(WORKSPACE), key)

    def _gather(
        self, tasks: TaskRunner, parts: Mapping[str, int], past: Past | None
    ) -> EvidenceSearch:
        """Read the pictures, those that were compared before first."""
        lake, reference = self.duplicates.lake, self.config.reference
        old = [name for name in parts if past and name in past.parts]
        old_tasks = plan_tasks(lake, old)
        plan = old_tasks + plan_tasks(lake, [name for name in parts if name not in set(old)])
        tasks.run("gather", gather, [(lake, of_task, reference) for of_task in plan])
        if not plan:
            raise ConfigError(f"There are no images in {lake.folder.url}; index photos first")
        pictures = load(tasks.workspace, len(plan))
        if reference and not pictures.reference.any():
            raise ConfigError(
                f"No picture of {lake.folder.url} lies below {', '.join(reference)}; give "
                "--reference as the paths stand in `uri`"
            )
        first_new = sum(
            len(tasks.workspace.load(f"gather-{i:05}")["bytes"]) for i in range(len(old_tasks))
        )
        return EvidenceSearch(self.duplicates, self.config, past, tasks, plan, pictures, first_new)


def settings_of(config: DedupeConfig) -> dict[str, Any]:
    """Return what a run must have in common with the one before to build on its pairs."""
    names = ("radius", "mirrored", "rotated", "crops", "confirm")
    return {name: getattr(config, name) for name in names} | {"looks": looks.VERSION}
