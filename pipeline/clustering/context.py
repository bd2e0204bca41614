"""What every step of a clustering needs beside its data."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.level import Progress
from pipeline.clustering.shards import Shape
from pipeline.lake.checkpoints import Mapper


@dataclass(frozen=True)
class Context:
    """Settings, who does the work, and who is told.

    Attributes:
        config: of the run.
        mapper: runs tasks.
        progress: told of finished tasks.
        about: figures of the run, for its manifest.
    """

    config: ClusterConfig
    mapper: Mapper
    progress: Progress
    about: dict[str, Any]

    def shape(self, prefix: str, starts: np.ndarray) -> Shape:
        """Return how many nodes are searched: exactly if they are few."""
        exact = int(starts[-1]) < self.config.exact_below
        # Groups are looked for twice as far: what links two of them is weaker than between faces.
        probes = 0 if exact else self.config.probes * (2 if prefix == "groups" else 1)
        return Shape(prefix, starts, probes, self.config.neighbours, self.config.device)
