"""Who is taken for whom, as a matrix."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST = 40


@dataclass(frozen=True)
class Row:
    """The tested faces of a person.

    Attributes:
        cells: (number, share of the person's faces) by the name given; the others of `Matrix`.
        elsewhere: faces that were named for somebody who is not in the matrix.
    """

    name: str
    cells: Sequence[tuple[int, float]]
    elsewhere: int


@dataclass(frozen=True)
class Matrix:
    """Names by whom they belong to.

    Attributes:
        whole: whether it has all people; otherwise those who are confused most.
    """

    rows: Sequence[Row]
    whole: bool

    @property
    def names(self) -> list[str]:
        """Return who is in it."""
        return [row.name for row in self.rows]


def matrix(confusion: Iterable[Mapping[str, Any]], people: Sequence[str]) -> Matrix | None:
    """Return the matrix of at most `MOST` people; None where nobody of many is confused."""
    faces: Counter[tuple[str, str]] = Counter()
    errors: Counter[str] = Counter()
    for row in confusion:
        pair = row["true"], row["named"]
        faces[pair] += row["faces"]
        if pair[0] != pair[1]:
            errors.update(dict.fromkeys(pair, row["faces"]))
    names = list(dict.fromkeys(people))
    whole = len(names) <= MOST
    chosen = set(names) if whole else {name for name, _ in errors.most_common(MOST)}
    shown = [name for name in names if name in chosen]
    if not shown:
        return None
    total: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for (true, named), number in faces.items():
        total[true] += number
        inside[true] += number if named in chosen else 0
    rows = [
        Row(
            name,
            [(faces[name, named], faces[name, named] / max(1, total[name])) for named in shown],
            total[name] - inside[name],
        )
        for name in shown
    ]
    return Matrix(rows, whole)
