"""Looks for duplicates in a lake: the order of the steps.

gather (tasks) -> what is new and whom it concerns (tasks), or all: classes of equal pixels, pairs
of close hashes (tasks), shared faces, families -> of these, stars of what a second look confirms,
and bursts -> tables. The columns of pictures lie in files; this process holds what it works on.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedupe import tables
from pipeline.dedupe.algorithms import looks
from pipeline.dedupe.algorithms.pictures import pixel_classes
from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.apart import parted, standing
from pipeline.dedupe.confirm import Confirmation
from pipeline.dedupe.duplicates import CROPS, FAMILIES, LOOKS, PAIRS, TABLE, Duplicates
from pipeline.dedupe.evidence import EvidenceSearch, Past
from pipeline.dedupe.gather import VERSION, Gathered, plan_tasks, size_of, versions_of
from pipeline.dedupe.groups import group
from pipeline.dedupe.scope import Before, Scope, whole
from pipeline.dedupe.update import Update, asked_since
from pipeline.errors import ConfigError
from pipeline.lake import schema
from pipeline.lake.checkpoints import Mapper, Progress, TaskRunner, Workspace
from pipeline.lake.moves import replaced
from pipeline.lake.shelf import Shelf
from pipeline.people.constraints import Constraint
from pipeline.people.store import People

WORKSPACE = "duplicates/_work"
# Of the files that tasks leave there: a run does not go on from those of another layout.
LAYOUT = 2


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
        parts = versions_of(lake)
        past, statements = self._past(parts), People(lake).constraints()
        said = standing(statements)
        said_ids = [row.constraint_id for row in said]
        workspace = self._workspace(parts, past, said_ids)
        resumed_steps = len(workspace.names())
        gathered = Gathered(lake, self.config.reference)
        tasks = TaskRunner(workspace, self.mapper, self.progress)
        gathered.run(tasks, parts)
        before = Before.of(self.duplicates, self.config) if past else None
        scope = None
        if before is not None:
            asked = asked_since(statements, said, before.about.get("told_apart", []))
            update = Update(self.duplicates, self.config, tasks, gathered, before, parts)
            scope = None if asked is None else update.scope(said, asked)
        if scope is None:
            scope = self._whole(tasks, gathered, parts, past, said)
        grouped = self._grouped(tasks, scope, past is not None)
        about = {
            "resumed_steps": resumed_steps,
            "settings": settings_of(self.config),
            "config": asdict(self.config) | {"full": False},
            "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "parts": {name: size_of(version) for name, version in parts.items()},
            "gathered": {"version": VERSION, "parts": scope.parts},
            "told_apart": said_ids,
            **scope.counts,
            "pairs": len(scope.pairs),
            "kinds": tables.counts(grouped[TABLE]),
            "bytes_of_copies": pc.sum(grouped[FAMILIES]["spare"]).as_py() or 0,
            "incremental": past is not None,
        }
        if self.config.confirm:
            about["unconfirmed_pairs"] = pc.sum(grouped[FAMILIES]["refused"]).as_py() or 0
            about["unread_pictures"] = pc.sum(grouped[FAMILIES]["unread"]).as_py() or 0
        self.duplicates.publish(self.run_id, grouped, about)
        gathered.tidy(parts)
        workspace.remove()
        lake.folder.child(WORKSPACE).remove_if_empty()
        return about

    def _grouped(self, tasks: TaskRunner, scope: Scope, remembers: bool) -> dict[str, pa.Table]:
        """Group what is in scope, and return the tables of the lake."""
        pictures, evidence = scope.pictures, scope.evidence
        confirmation = self._confirmation(tasks, scope) if self.config.confirm else None
        if confirmation is not None and remembers:
            confirmation.remember(self.duplicates.looks())
        classes = parted(pixel_classes(pictures), evidence.apart)
        groups = group(pictures, classes, evidence, self.config, confirmation)
        while confirmation is not None and confirmation.read_missing():
            groups = group(pictures, classes, evidence, self.config, confirmation)
        rows = pa.concat_tables([scope.kept.rows, tables.rows(groups, self.run_id)])
        rows = replaced(rows, "run_id", [self.run_id] * len(rows))
        said = confirmation.rows() if confirmation else schema.LOOKS.empty_table()
        refused = confirmation.refused() if confirmation else np.zeros(len(pictures), np.int64)
        unread = confirmation.unread() if confirmation else np.zeros(len(pictures), bool)
        return {
            TABLE: tables.by_group(rows),
            PAIRS: scope.pairs,
            CROPS: tables.crop_rows(pictures, evidence.crops),
            LOOKS: pa.concat_tables([scope.kept.looks, said]),
            FAMILIES: scope.families(groups.kept, refused, unread),
        }

    def _confirmation(self, tasks: TaskRunner, scope: Scope) -> Confirmation:
        """Return what looks at near copies again."""
        turns = tuple(turn for turn in scope.evidence.turned.pairs if turn is not None)
        lake, parts = self.duplicates.lake, list(scope.parts)
        return Confirmation(tasks, lake, parts, scope.part, scope.pictures, turns)

    def _past(self, parts: Mapping[str, str]) -> Past | None:
        """Return the last search, if this one may build on it."""
        before = self.duplicates.current()
        if self.config.full or before is None or before.get("settings") != settings_of(self.config):
            return None
        # A part that was replaced is new; what is gone from the lake does no harm.
        compared: Mapping[str, int] = before.get("parts", {})
        versions = (before.get("gathered") or {}).get("parts", {})
        same = frozenset(
            name for name, size in compared.items()
            if name in parts and size_of(parts[name]) == size
            and versions.get(name, [parts[name]])[0] == parts[name]
        )  # fmt: skip
        return Past(before["run_id"], same, len(same) == len(compared)) if same else None

    def _workspace(
        self, parts: Mapping[str, str], past: Past | None, said_ids: Sequence[str]
    ) -> Workspace:
        """Return this run's work folder, that of a killed run with the same input included."""
        same = [LAYOUT, asdict(self.config), sorted(parts.items()), past and past.run_id, said_ids]
        key = hashlib.blake2b(json.dumps(same).encode(), digest_size=8).hexdigest()
        return Workspace.only(self.duplicates.lake.folder.child(WORKSPACE), key)

    def _whole(
        self,
        tasks: TaskRunner,
        gathered: Gathered,
        parts: Mapping[str, str],
        past: Past | None,
        said: Sequence[Constraint],
    ) -> Scope:
        """Return what is grouped when all pictures are looked at, those compared before first."""
        url, reference = self.duplicates.lake.folder.url, self.config.reference
        old = {name: size for name, size in parts.items() if past and name in past.parts}
        new = {name: size for name, size in parts.items() if name not in old}
        if not parts:
            raise ConfigError(f"There are no images in {url}; index photos first")
        shelf = Shelf()  # removed with its files when nobody has it any more
        pictures, counts = gathered.joined(shelf, old | new)
        if reference and not pictures.reference.any():
            raise ConfigError(
                f"No picture of {url} lies below {', '.join(reference)}; give "
                "--reference as the paths stand in `uri`"
            )
        plan = plan_tasks(old, old) + plan_tasks(new, new)
        first_new = sum(counts[name][1] for name in old)
        search = EvidenceSearch(
            self.duplicates, self.config, past, tasks, plan, pictures, first_new
        )
        return whole(search, counts, said)


def settings_of(config: DedupeConfig) -> dict[str, Any]:
    """Return what a run must have in common with the one before to build on its pairs."""
    names = ("radius", "mirrored", "rotated", "crops", "confirm")
    return {name: getattr(config, name) for name in names} | {"looks": looks.VERSION}
