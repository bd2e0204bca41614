"""Who is who at one moment, and lists for the pages, each made when it is first needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Floats32
from pipeline.lake.columns import matrix
from pipeline.people.constraints import same_name
from pipeline.people.store import People
from pipeline.people.view import ORDERS, View

# Browsers get slow with longer lists.
MOST_NAMES = 1000
ALIKE = 12
# Lists of faces and photos that were asked for last: somebody scrolls through them page by page.
KEPT = 24

T = TypeVar("T")

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
        self._recent: OrderedDict[Hashable, Any] = OrderedDict()

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
        return self.recent(("faces", person_id), lambda: self.view.faces(person_id))

    def recent(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` makes; the last `KEPT` things of different keys are kept."""
        with self._lock:
            if key not in self._recent:
                self._recent[key] = make()
            self._recent.move_to_end(key)
            while len(self._recent) > KEPT:
                self._recent.popitem(last=False)
            made: T = self._recent[key]
            return made

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

    def alike(self, person_id: str) -> list[dict[str, Any]]:
        """Return the persons most like one, named or not, with `similarity`, the most like first.

        Two persons who were told apart, or have different names, are listed as well: they may be
        looked at side by side.
        """
        means = self.people.once_a_run("means", lambda: Means.read(self.people))
        if person_id not in means.place:
            return []
        here = self._once("here", lambda: pc.is_in(means.ids, self.view.people["person_id"]))
        cosines = np.where(here, means.vectors @ means.vectors[means.place[person_id]], -1)
        best = np.argpartition(-cosines, min(ALIKE, len(cosines) - 1))[: ALIKE + 1].tolist()
        ids, least = means.ids, self.least_similarity
        near = {ids[at].as_py(): float(cosines[at]) for at in best if cosines[at] >= least}
        near.pop(person_id, None)
        rows = [row | {"similarity": near[row["person_id"]]} for row in self.rows(list(near))]
        rows = [row for row in rows if not row["hidden"]]
        return sorted(rows, key=lambda row: -row["similarity"])[:ALIKE]

    @property
    def least_similarity(self) -> float:
        """The least similarity of a proposal: half of what two faces need to be one person."""
        about = self.people.current_or_none() or {}
        return float(about.get("threshold", {}).get("single_faces", 0.0)) / 2


@dataclass(frozen=True)
class Means:
    """The average vectors of the persons of a clustering.

    Attributes:
        ids: of those who have one.
        vectors: of unit length, float32 [N, D].
        place: row of each person.
    """

    ids: pa.Array
    vectors: Floats32
    place: Mapping[str, int]

    @classmethod
    def read(cls, people: People) -> "Means":
        """Read those of the current generation."""
        table = people.people(["person_id", "mean"], pc.field("mean").is_valid())
        vectors = matrix(table["mean"])
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        ids = table["person_id"].combine_chunks()
        place = {person: row for row, person in enumerate(ids.to_pylist())}
        return cls(ids, vectors / np.maximum(length, 1e-12), place)
