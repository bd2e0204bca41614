"""Pairs of photos or faces from a file, matched to a lake: LFW's pairs.txt, or CSV."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.errors import ConfigError
from pipeline.evaluation.truth.rows import csv_rows, need_columns, read_file
from pipeline.lake.lookup import Which, chosen_faces, face_ids, find_images
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import visible

YES, NO = {"1", "true", "yes", "same"}, {"0", "false", "no", "different"}


@dataclass(frozen=True)
class Row:
    """One pair as the file has it; `person_a` and `person_b` are "" where it names nobody."""

    a: str
    b: str
    same: bool
    fold: str = ""
    group: str | None = None
    person_a: str = ""
    person_b: str = ""


@dataclass(frozen=True)
class LakePairs:
    """Pairs of faces of a lake.

    Attributes:
        first, second: face ids; None for a photo in which no face was found.
        fold: number of each pair's fold, from 0; None where the file has none.
        group: of each pair; None where the file has none.
        person_first, person_second: number of the person on each side.
        which: face that represents a photo.
        missing: pairs left out since the lake lacks a photo.
        ambiguous: pairs left out since a photo may be one of several.
        contradictions: pairs called different although other pairs make them one person.
    """

    first: Sequence[str | None]
    second: Sequence[str | None]
    same: Sequence[bool]
    fold: Sequence[int] | None
    group: Sequence[str | None] | None
    person_first: Sequence[int]
    person_second: Sequence[int]
    which: Which
    missing: int
    ambiguous: int
    contradictions: int


def read_pairs(lake: LakeStore, file: str, which: Which | None = None) -> LakePairs:
    """Return the pairs of `file` that the lake has.

    Args:
        lake: with the photos.
        file: pairs.txt of Labeled Faces in the Wild, or CSV or Parquet with the columns a, b (face
            ids, or photos by any of their names), same (1 or 0), and optionally fold and group.
        which: face that represents a photo; None: "central" for pairs.txt, else "largest".

    Raises:
        ConfigError: the file cannot be understood, or the lake has none of its pairs.
    """
    rows, official = parse_pairs(file)
    which = which or ("central" if official else "largest")
    chosen = chosen_faces(lake, which)
    faces, find = face_ids(lake), find_images(lake)
    kept: list[Row] = []
    sides: list[tuple[str, str]] = []  # face id, or image id of a photo without a face
    missing = ambiguous = 0
    for row in rows:
        matches = [{text} & faces or find(text) for text in (row.a, row.b)]
        if any(len(ids) > 1 for ids in matches):
            ambiguous += 1
        elif not all(matches):
            missing += 1
        else:
            a, b = (next(iter(ids)) for ids in matches)
            kept.append(row)
            sides.append((chosen.get(a, a), chosen.get(b, b)))
    if not kept:
        raise ConfigError(
            f"None of the {len(rows):,} pairs of {visible(file)} is in {lake.folder.url}; compare "
            f"its photos ({visible(rows[0].a)} ...) with the lake's"
        )
    persons, contradictions = _persons(kept, sides)
    folds = sorted({row.fold for row in kept})
    number = {name: k for k, name in enumerate(folds)}
    return LakePairs(
        [a if a in faces else None for a, _ in sides],
        [b if b in faces else None for _, b in sides],
        [row.same for row in kept],
        [number[row.fold] for row in kept] if len(folds) > 1 else None,
        [row.group for row in kept] if any(row.group for row in kept) else None,
        [a for a, _ in persons],
        [b for _, b in persons],
        which,
        missing,
        ambiguous,
        contradictions,
    )


def _persons(rows: list[Row], sides: list[tuple[str, str]]) -> tuple[list[tuple[int, int]], int]:
    """Return numbers of the people of each pair; without names, same pairs join faces."""
    if rows[0].person_a:
        names = sorted({name for row in rows for name in (row.person_a, row.person_b)})
        place = {name: k for k, name in enumerate(names)}
        return [(place[row.person_a], place[row.person_b]) for row in rows], 0
    place = {side: k for k, side in enumerate(dict.fromkeys(s for both in sides for s in both))}
    linked = np.array([row.same for row in rows], dtype=bool)
    ends = np.array([[place[a], place[b]] for a, b in sides])
    edges = ends[linked]
    size = len(place)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size))
    _, person = connected_components(graph, directed=False)
    both = person[ends]
    wrong = int((both[~linked, 0] == both[~linked, 1]).sum())
    return [(int(a), int(b)) for a, b in both], wrong


def parse_pairs(file: str) -> tuple[list[Row], bool]:
    """Return the pairs of a file, and whether it is in the format of LFW.

    Raises:
        ConfigError: it cannot be understood; names the line.
    """
    text = read_file(file)
    if not isinstance(text, str):
        return _table(file, text), False
    lines = text.splitlines()
    if lines and re.fullmatch(r"\d+(\s+\d+)?\s*", lines[0]):
        return _official(file, lines), True
    return _table(file, csv_rows(file, text)), False


def _table(file: str, table: Sequence[Mapping[str, str]]) -> list[Row]:
    if not table:
        raise ConfigError(f"{visible(file)} has no pairs; it needs the columns a,b,same")
    need_columns(file, [dict(table[0])], "a", "b", "same")
    rows = []
    for k, row in enumerate(table, start=2):
        word = row["same"].strip().lower()
        if word not in YES | NO or not row["a"] or not row["b"]:
            raise ConfigError(
                f"{visible(file)}, row {k}: two photos or faces, and 1 or 0 in the column same are "
                f"needed, not {visible(', '.join([row['a'], row['b'], row['same']]))}"
            )
        rows.append(
            Row(row["a"], row["b"], word in YES, row.get("fold", ""), row.get("group") or None)
        )
    return rows


def _official(file: str, lines: list[str]) -> list[Row]:
    """Parse `folds N`, then for each fold N lines of one person and N of two."""
    header = [int(word) for word in lines[0].split()]
    folds, each = (header[0], header[1]) if len(header) == 2 else (1, header[0])
    pairs = [(k, line.split("\t")) for k, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(pairs) != folds * each * 2 or not pairs:
        raise ConfigError(
            f"{visible(file)} says {folds} folds of {each} pairs of one person and as many of two, "
            f"but has {len(pairs):,} lines; get it again"
        )
    rows = []
    for at, (k, words) in enumerate(pairs):
        numbers = words[1:] if len(words) == 3 else words[1::2]
        if len(words) not in (3, 4) or not all(n.strip().isdecimal() for n in numbers):
            raise ConfigError(
                f"{visible(file)}, line {k}: needed are a name and two numbers, or twice a name "
                f"and a number, between tabs, not {visible(' '.join(words))}"
            )
        first, second = words[0], words[0] if len(words) == 3 else words[2]
        a, b = (f"{name}_{int(n):04}" for name, n in zip((first, second), numbers, strict=True))
        # folds as numbers of equal width, so that they sort
        rows.append(Row(a, b, first == second, f"{at // (2 * each):06}", None, first, second))
    return rows
