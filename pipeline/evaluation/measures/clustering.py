"""How well a clustering agrees with labels: every measure from one sparse contingency table.

Pairwise and BCubed precision, recall and F (Amigo et al., Information Retrieval 12, 2009), NMI
with the arithmetic mean, purity, and bootstrap intervals over identities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Floats64, Ints
from pipeline.errors import ConfigError
from pipeline.evaluation.measures.bootstrap import Interval, intervals

RATES = ("pairwise_precision", "pairwise_recall", "pairwise_f",
         "bcubed_precision", "bcubed_recall", "bcubed_f")  # fmt: skip


@dataclass(frozen=True)
class Contingency:
    """How many faces each identity has in each cluster, zeros left out.

    Attributes:
        identity, cluster: row and column of each cell, int64 [M], numbered from 0.
        count: faces in the cell, int64 [M].
        identities, clusters: faces of each identity and of each cluster.
        names: label of each identity.
    """

    identity: Ints
    cluster: Ints
    count: Ints
    identities: Ints
    clusters: Ints
    names: list[Any]

    @staticmethod
    def of(labels: Sequence[Any], clusters: Sequence[Any]) -> "Contingency":
        """Count faces by true label and by cluster; a cluster of None is one of its own.

        Raises:
            ConfigError: no faces, or lengths differ.
        """
        if len(labels) != len(clusters) or len(labels) == 0:
            raise ConfigError(
                f"{len(labels)} labels for {len(clusters)} clustered faces; give one label a face"
            )
        names, rows = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
        alone = (f"\0alone-{i}" if c is None else str(c) for i, c in enumerate(clusters))
        _, columns = np.unique(np.array(list(alone)), return_inverse=True)
        width = int(columns.max()) + 1
        cells, count = np.unique(rows.astype(np.int64) * width + columns, return_counts=True)
        return Contingency(
            cells // width,
            cells % width,
            count.astype(np.int64),
            np.bincount(rows).astype(np.int64),
            np.bincount(columns).astype(np.int64),
            names.tolist(),
        )

    def shares(self) -> dict[str, Floats64]:
        """Return what each identity adds to numerators and denominators, float64 [I] each.

        A weighted sum of these over identities gives every rate: this is what makes bootstrapping
        over identities cheap. A pair in a wrong cluster counts half for each of its identities.
        """
        size = len(self.identities)

        def add(values: npt.NDArray[Any]) -> Floats64:
            return np.bincount(self.identity, values, size).astype(np.float64, copy=False)

        pairs = self.count * (self.count - 1) / 2
        own, whole = self.identities[self.identity], self.clusters[self.cluster]
        return {
            "faces": self.identities.astype(np.float64),
            "pairs_found": add(pairs),
            "pairs_clustered": add(self.count * (whole - 1) / 2),
            "pairs_true": self.identities * (self.identities - 1) / 2,
            "bcubed_precision": add(self.count**2 / whole),
            "bcubed_recall": add(self.count**2 / own),
        }

    def rates(self, weights: npt.NDArray[Any] | None = None) -> dict[str, float]:
        """Return `RATES`, each identity counting `weights` times (default once)."""
        shares = self.shares()
        chosen = np.ones(len(self.identities)) if weights is None else weights
        return _rates({name: float(share @ chosen) for name, share in shares.items()})

    def intervals(self, samples: int = 1000, seed: int = 0) -> dict[str, Interval]:
        """Return a bootstrap interval over identities for each of `RATES`."""
        shares = self.shares()
        table = np.stack(list(shares.values()))

        def resampled(identities: Floats64) -> dict[str, float]:
            return _rates(dict(zip(shares, (table @ identities).tolist(), strict=True)))

        return intervals(resampled, len(self.identities), samples, seed)

    def nmi(self) -> float:
        """Return normalised mutual information, arithmetic mean; 1 when both are one group."""
        total = self.count.sum()
        joint = self.count / total
        rows, columns = self.identities / total, self.clusters / total
        mutual = np.sum(joint * np.log(joint / (rows[self.identity] * columns[self.cluster])))
        entropy = -(np.sum(rows * np.log(rows)) + np.sum(columns * np.log(columns))) / 2
        return float(mutual / entropy) if entropy > 0 else 1.0

    def purity(self) -> float:
        """Return the share of faces that belong to the largest identity of their cluster."""
        largest = np.zeros(len(self.clusters), dtype=np.int64)
        np.maximum.at(largest, self.cluster, self.count)
        return float(largest.sum() / self.count.sum())


def _rates(sums: dict[str, float]) -> dict[str, float]:
    """Return the rates of summed shares; where there is nothing to find, a rate is 1."""

    def ratio(part: float, whole: float) -> float:
        return part / whole if whole > 0 else 1.0

    def harmonic(a: float, b: float) -> float:
        return 2 * a * b / (a + b) if a + b > 0 else 0.0

    precision = ratio(sums["pairs_found"], sums["pairs_clustered"])
    recall = ratio(sums["pairs_found"], sums["pairs_true"])
    b_precision = ratio(sums["bcubed_precision"], sums["faces"])
    b_recall = ratio(sums["bcubed_recall"], sums["faces"])
    values = (precision, recall, harmonic(precision, recall),
              b_precision, b_recall, harmonic(b_precision, b_recall))  # fmt: skip
    return dict(zip(RATES, values, strict=True))


def evaluate(
    labels: Sequence[Any],
    clusters: Sequence[Any],
    groups: Sequence[Any] | None = None,
    bootstrap: int = 1000,
) -> dict[str, Any]:
    """Return all measures of a clustering, with 95 % intervals.

    Args:
        labels: true identity of each face.
        clusters: its cluster; None: not clustered, counts as alone.
        groups: an attribute of each face, for example a region; rates are given for each group,
            an identity belonging to the group of most of its faces.
        bootstrap: samples of the intervals; 0: none.
    """
    table = Contingency.of(labels, clusters)
    result: dict[str, Any] = {
        **table.rates(),
        "nmi": table.nmi(),
        "purity": table.purity(),
        "faces": int(table.count.sum()),
        "identities": len(table.identities),
        "clusters": len(table.clusters),
        "unclustered": sum(c is None for c in clusters),
    }
    if bootstrap:
        result["intervals"] = table.intervals(bootstrap)
    if groups is not None:
        result["groups"] = _by_group(table, labels, groups)
    return result


def _by_group(
    table: Contingency, labels: Sequence[Any], groups: Sequence[Any]
) -> dict[str, dict[str, float]]:
    """Return the rates over the identities of each group."""
    votes: dict[str, dict[str, int]] = {}
    for label, group in zip(labels, groups, strict=True):
        of_label = votes.setdefault(str(label), {})
        of_label[str(group)] = of_label.get(str(group), 0) + 1
    of = np.array([max(votes[n], key=lambda g: (votes[n][g], g)) for n in table.names])
    return {
        str(group): table.rates((of == group).astype(np.float64))
        | {"identities": int((of == group).sum())}
        for group in np.unique(of)
    }
