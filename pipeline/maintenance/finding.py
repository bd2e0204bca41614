"""What `facelake check` can find wrong with a lake."""

from dataclasses import dataclass

# What is wrong, in words; those in `QUARANTINED` make a part untrustworthy.
KINDS = {
    "damaged": "a file cannot be read, or does not hold what was written",
    "schema": "the columns of a file are not those of this version",
    "inconsistent": "an image has an error and a number of faces, or neither, or an unknown code",
    "count": "an image has another number of faces than its row says",
    "vector": "a vector is not finite or not of unit length",
    "models": "rows were made by other models than the lake's",
    "stray": "faces whose image is not in their part",
    "doubled": "an image has more than one row",
    "gone": "rows of photos that are gone; `facelake prune` removes them, or restore a backup",
    "leftover": "a file without a twin, or half-written, left by a crash",
    "derived": "a table of people, duplicates or predictions; run `facelake cluster --full`, "
    "`dedupe --full` or `classify`",
    "left behind": "a part of such a table that no table names; the next run removes it",
    "corrections": "a file of constraints/; restore it from a backup, or move it away",
}
QUARANTINED = frozenset({"damaged", "schema", "inconsistent", "count", "vector", "models"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one part.

    Attributes:
        kind: one of `KINDS`.
        part: file name.
        detail: what exactly, for people.
        rows: how many rows it concerns.
        ids: the images concerned (doubled) or the faces (stray).
    """

    kind: str
    part: str
    detail: str
    rows: int = 0
    ids: tuple[str, ...] = ()
