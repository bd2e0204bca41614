"""Who is who at one moment, and lists for the pages, each made when it is first needed."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats32
from pipeline.lake.columns import matrix
from pipeline.people.answers import open_suggestions
from pipeline.people.constraints import same_name
from pipeline.people.store import People
from pipeline.people.view import ORDERS, View

# Browsers get slow with longer lists.
MOST_NAMES = 1000
PROPOSALS = 3
ALIKE = 12
PERSONS_KEPT = 24

Show = Literal["all", "named", "unnamed", "hidden"]

Key = tuple[str, frozenset[tuple[str, int]]]


class Snapshot:
    """The view at one moment.

    Args:
        people: the store.
        view: who is who.
        key: tells whether the view is out of date.
    """

    def __init__(self, people: People, view: View, key: Key) -> None:
        self.people = people
        self.view = view
        self.key = key
        self._lock = threading.RLock()
        self._cache: dict[str, Any] = {}

    def _once(self, name: str, make: Any) -> Any:
        with self._lock:
            if name not in self._cache:
                self._cache[name] = make()
            return self._cache[name]

    def listed(self, order: str, text: str = "", show: Show = "all", least: int = 0) -> pa.Table:
        """Return persons in one of `ORDERS`; those whose name or id holds `text`.

        Hidden ones are left out unless they are asked for, as are those of fewer faces.
        """
        table = self._once(order, lambda: self.view.people.sort_by(ORDERS[order]))
        hidden = table["hidden"]
        table = table.filter(hidden if show == "hidden" else pc.invert(hidden))
        if show in ("named", "unnamed"):
            named = pc.is_valid(table["name"])
            table = table.filter(named if show == "named" else pc.invert(named))
        if least > 1:
            table = table.filter(pc.greater_equal(table["faces"], least))
        if text:
            named = pc.match_substring(pc.utf8_lower(table["name"]), text.lower())
            by_id = pc.starts_with(table["person_id"], text.lower())
            table = table.filter(pc.or_(named.fill_null(False), by_id))
        return table

    def unnamed(self, kind: str = "all") -> pa.Table:
        """Return persons without a name, most faces first: all, `groups` or `singles` of them."""
        table = self.listed("size", show="unnamed")
        if kind == "groups":
            return table.filter(pc.greater(table["faces"], 1))
        return table.filter(pc.equal(table["faces"], 1)) if kind == "singles" else table

    @property
    def named(self) -> list[dict[str, Any]]:
        """Persons with a name, hidden ones too, most faces first."""
        rows: list[dict[str, Any]] = self._once(
            "named",
            lambda: (
                self.view.people.filter(pc.is_valid(self.view.people["name"]))
                .sort_by(ORDERS["size"])
                .to_pylist()
            ),
        )
        return rows

    @property
    def names(self) -> list[str]:
        """Names to propose while somebody types; those with most faces come first."""
        return list(dict.fromkeys(str(row["name"]) for row in self.named))[:MOST_NAMES]

    def with_name(self, name: str) -> list[dict[str, Any]]:
        """Return the persons of this name, however it is spelled."""
        return [row for row in self.named if same_name(row["name"], name)]

    def faces(self, person_id: str) -> list[dict[str, Any]]:
        """Return the faces of a person, most central first; those asked for last are kept."""
        with self._lock:
            kept: OrderedDict[str, list[dict[str, Any]]] = self._once("faces", OrderedDict)
            if person_id not in kept:
                kept[person_id] = self.view.faces(person_id)
            kept.move_to_end(person_id)
            while len(kept) > PERSONS_KEPT:
                kept.popitem(last=False)
            return kept[person_id]

    @property
    def of_nobody(self) -> list[str]:
        """Faces that are of nobody yet."""
        faces: list[str] = self._once("nobody", self.view.of_nobody)
        return faces

    def rows(self, person_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the rows of some persons, in any order."""
        table = self.view.people
        wanted = pa.array(list(person_ids), pa.string())
        rows: list[dict[str, Any]] = table.filter(pc.is_in(table["person_id"], wanted)).to_pylist()
        return rows

    def name_of(self, person_id: str | None) -> str | None:
        """Return the name of a person, None if there is none."""
        names: dict[str, str] = self._once(
            "names", lambda: {row["person_id"]: row["name"] for row in self.named}
        )
        return names.get(person_id) if person_id else None

    @property
    def suggestions(self) -> list[dict[str, Any]]:
        """Suggestions that nobody has answered yet."""
        rows: list[dict[str, Any]] = self._once(
            "suggestions", lambda: open_suggestions(self.people, self.view)
        )
        return rows

    def proposals(self, person_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return the most similar named persons of each person, with `similarity`.

        The means of the last clustering are compared; a person without one gets no proposals.
        """
        shown = [row for row in self.named if not row["hidden"]]
        ids, means = self._once("means", lambda: self._means([row["person_id"] for row in shown]))
        persons, person_means = self._means(person_ids)
        if not ids or not persons:
            return {}
        rows = {row["person_id"]: row for row in shown}
        cosines = person_means @ means.T
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :PROPOSALS]
        least = self.least_similarity
        return {
            person: [
                {**rows[ids[at]], "similarity": float(cosines[row, at])}
                for at in best[row]
                if cosines[row, at] >= least
            ]
            for row, person in enumerate(persons)
        }

    def alike(self, person_id: str) -> list[dict[str, Any]]:
        """Return the persons most like one, named or not, with `similarity`, the most like first.

        Two persons who were told apart, or have different names, are listed as well: they may be
        looked at side by side.
        """
        ids, means = self._once("every mean", lambda: self._means(self.view.people["person_id"]))
        own, own_mean = self._means([person_id])
        if not own:
            return []
        cosines = (own_mean @ means.T)[0]
        best = np.argsort(-cosines, kind="stable")[: ALIKE + 1].tolist()
        near = {ids[at]: float(cosines[at]) for at in best if cosines[at] >= self.least_similarity}
        near.pop(person_id, None)
        rows = [row | {"similarity": near[row["person_id"]]} for row in self.rows(list(near))]
        rows = [row for row in rows if not row["hidden"]]
        return sorted(rows, key=lambda row: -row["similarity"])[:ALIKE]

    @property
    def least_similarity(self) -> float:
        """The least similarity of a proposal: half of what two faces need to be one person."""
        about = self.people.current_or_none() or {}
        return float(about.get("threshold", {}).get("single_faces", 0.0)) / 2

    def _means(self, person_ids: Sequence[str] | pa.ChunkedArray) -> tuple[list[str], Floats32]:
        """Return the ids of those who have a mean, and their unit means float32 [N, D]."""
        if not len(person_ids):
            return [], np.zeros((0, 1), np.float32)
        if isinstance(person_ids, pa.ChunkedArray):
            wanted = person_ids.combine_chunks()
        else:
            wanted = pa.array(person_ids, pa.string())
        table = self.people.people(["person_id", "mean"], pc.field("person_id").isin(wanted))
        if not len(table):
            return [], np.zeros((0, 1), np.float32)
        means = matrix(table["mean"])
        length = np.linalg.norm(means, axis=1, keepdims=True)
        return table["person_id"].to_pylist(), means / np.maximum(length, 1e-12)
