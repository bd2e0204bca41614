"""Clusters a lake from its tables to its tables: the order of the steps.

gather -> tiers -> calibrate -> level of faces -> level of groups -> corrections -> weak faces join
-> confidence -> tables. What is heavy runs in tasks; this process holds some bytes a face.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.algorithms.threshold import describe
from pipeline.clustering.calibration import Calibration, calibrate_lake
from pipeline.clustering.copies import kept_photos
from pipeline.clustering.evidence import Confirmed
from pipeline.clustering.face_tiers import assign_tiers
from pipeline.clustering.faces_level import group_faces
from pipeline.clustering.finish import finish
from pipeline.clustering.gather import Faces, gather, load_faces, plan_shards
from pipeline.clustering.groups_level import merge_groups
from pipeline.clustering.outcome import Outcome
from pipeline.clustering.past import Past, look_back, part_sizes, settings_of
from pipeline.clustering.tables import publish, publish_nobody, publish_unchanged
from pipeline.dedupe.duplicates import Duplicates
from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import Mapper, Progress, TaskRunner, Workspace
from pipeline.people.constraints import Constraint, Corrections
from pipeline.people.corrections import resolve
from pipeline.people.store import People

WORKSPACE = "clusters/_work"
# Of the files that tasks leave there: a run does not go on from those of another layout.
LAYOUT = 3


@dataclass(frozen=True)
class Run:
    """One clustering of the people of a lake.

    Attributes:
        people: of the lake.
        config: settings.
        mapper: runs the tasks.
        run_id: of this run.
        progress: called whenever a task is finished.
    """

    people: People
    config: ClusterConfig
    mapper: Mapper
    run_id: str
    progress: Progress = lambda *_: None

    def cluster(self) -> dict[str, Any]:
        """Cluster, publish a generation, and return its figures.

        Raises:
            ConfigError: there is no lake, or no photo in it.
            StorageError: the lake is broken, see `gather.verify`.
        """
        lake = self.people.lake
        lake.existing_models()
        # Read once: corrections that are made while this runs are left to the next run.
        constraints = self.people.constraints()
        past = look_back(self.people, self.config, constraints)
        workspace = self._workspace(past, constraints)
        tasks = TaskRunner(workspace, self.mapper, self.progress)
        resumed_steps = len(workspace.names())
        shards: list[tuple[Any, ...]] = [
            (lake, parts, None) for parts in plan_shards(lake, past.clustered_parts)
        ]
        if past.again:
            shards.append((lake, lake.parts(), past.again))
        tasks.run("gather", gather, shards)
        if not shards and past.people:  # nothing is new since
            return publish_unchanged(self.people, self.run_id, past)
        copies = partial(kept_photos, Duplicates(lake))
        faces = load_faces(workspace, len(shards), copies) if shards else None
        if faces is None or not (len(faces.face_id) or past.people):
            if not lake.parts():
                raise ConfigError(f"There are no faces in {lake.folder.url}; index photos first")
            workspace.remove()
            return publish_nobody(self.people, self.run_id)
        calibration, outcome = self._group(tasks, faces, resolve(constraints), past)
        about = {"resumed_steps": resumed_steps} | figures(calibration, outcome) | {
            "settings": settings_of(self.config),
            "parts": part_sizes(lake),
            "constraints": [row.constraint_id for row in constraints],
        }  # fmt: skip
        about = publish(self.people, self.run_id, outcome, past, about)
        workspace.remove()
        lake.folder.child(WORKSPACE).remove_if_empty()
        return about

    def _workspace(self, past: Past, constraints: Sequence[Constraint]) -> Workspace:
        """Return this run's work folder, that of a killed run with the same input included."""
        lake = self.people.lake
        rows = sorted(row.constraint_id for row in constraints)
        copies = Duplicates(lake).current()
        same = [
            LAYOUT, asdict(self.config), part_sizes(lake), rows, past.run_id,
            copies and copies["run_id"],
        ]  # fmt: skip
        key = hashlib.blake2b(json.dumps(same, sort_keys=True).encode(), digest_size=8).hexdigest()
        return Workspace.only(lake.folder.child(WORKSPACE), key)

    def _group(
        self, tasks: TaskRunner, faces: Faces, corrections: Corrections, past: Past
    ) -> tuple[Calibration, Outcome]:
        config = self.config
        tiers = assign_tiers(faces, corrections, config.tiers)
        calibration = calibrate_lake(self.people.lake, faces, tiers.core, past, config)
        confirmed = Confirmed(corrections, faces.rows_of(corrections.faces))
        face_groups = group_faces(
            tasks, faces, tiers.core, calibration.threshold, confirmed, config
        )
        groups = merge_groups(tasks, face_groups, past, confirmed, config)
        return calibration, finish(tasks, tiers, groups, confirmed, past, config)


def figures(calibration: Calibration, outcome: Outcome) -> dict[str, Any]:
    """Return what the manifest says of the steps."""
    groups = outcome.groups
    return {
        "threshold": describe(calibration.threshold),
        "curve": calibration.curve,
        "recall": groups.face_groups.recall,
        "groups_of_faces": groups.face_groups.count,
        "threshold_of_groups": describe(groups.threshold),
        "recall_of_groups": groups.recall,
        "odds": None if outcome.odds is None else asdict(outcome.odds),
    }
