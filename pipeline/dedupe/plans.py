"""What may go: the copies of a lake that need not be kept, as a table and as a script."""

import csv
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedupe.companions import Companions
from pipeline.dedupe.duplicates import Duplicates
from pipeline.dedupe.tables import COPIES, KEPT
from pipeline.errors import ConfigError
from pipeline.lake.scan import scan
from pipeline.lake.schema import IMAGES
from pipeline.sources.units import archive_of
from pipeline.storage.folder import as_cell

PLACES = ("image_id", "uri", "shard", "sha256", "bytes")
COLUMNS = (
    "uri", "sha256", "bytes", "kind", "distance", "kept_uri", "group_id", "reason", "companions",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture is, and what its bytes should be."""

    uri: str
    shard: str
    sha256: str
    bytes: int

    @property
    def archive(self) -> str | None:
        """The archive or table that holds it; None for a file of its own."""
        return archive_of(self.uri, self.shard)


@dataclass(frozen=True, slots=True)
class Copy:
    """A picture that may go, and the one that is kept instead."""

    place: Place
    kept: Place
    row: dict[str, Any]
    companions: tuple[str, ...] = ()  # addresses of files that go where it goes


def checked_kinds(kinds: Sequence[str] | None) -> tuple[str, ...]:
    """Return kinds of copies, all of them for None.

    Raises:
        ConfigError: there is no such kind.
    """
    chosen = COPIES if kinds is None else tuple(kinds)
    unknown = [kind for kind in chosen if kind not in COPIES]
    if unknown or not chosen:
        raise ConfigError(
            f"--kinds {','.join(chosen)}: choose from {', '.join(COPIES)}; bursts are no copies"
        )
    return chosen


def copies(duplicates: Duplicates, kinds: Sequence[str]) -> list[Copy]:
    """Return the copies of some kinds that need not be kept, group by group.

    Raises:
        ConfigError: nobody has searched yet.
    """
    rows = duplicates.table()
    wanted_kinds = pa.array(sorted(kinds), pa.string())
    copy_rows = rows.filter(
        pc.and_(pc.invert(rows["keep"]), pc.is_in(rows["kind"], wanted_kinds))
    ).to_pylist()
    kept = rows.filter(pc.equal(rows["kind"], KEPT))
    best = dict(zip(kept["group_id"].to_pylist(), kept["image_id"].to_pylist(), strict=True))
    lake = duplicates.lake
    ids = sorted({row["image_id"] for row in copy_rows} | set(best.values()))
    where = pc.field("image_id").isin(pa.array(ids, pa.string()))
    table = scan(lake.folder.child("images"), lake.parts(), IMAGES, PLACES, where)
    places = {
        row["image_id"]: Place(row["uri"], row["shard"] or "", row["sha256"], row["bytes"] or 0)
        for row in table.to_pylist()
    }
    going = {places[row["image_id"]].uri for row in copy_rows if row["image_id"] in places}
    companions = Companions(lake.folder.options, going)
    return [
        Copy(
            place := places[row["image_id"]], places[best[row["group_id"]]], row,
            () if place.archive else companions.of(place.uri),
        )
        for row in copy_rows
        if row["image_id"] in places and best.get(row["group_id"]) in places
    ]  # fmt: skip


def as_csv(copies: Sequence[Copy]) -> str:
    """Return the copies as CSV with the columns `COLUMNS`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for copy in copies:
        row = copy.row | {
            "uri": copy.place.uri, "sha256": copy.place.sha256, "bytes": copy.place.bytes,
            "kept_uri": copy.kept.uri, "companions": " | ".join(copy.companions),
        }  # fmt: skip
        writer.writerow([as_cell(v) if isinstance(v := row[name], str) else v for name in COLUMNS])
    return out.getvalue()


SCRIPT = """#!/bin/sh
# Moves copies aside; nothing is deleted. Read it, take out what should stay, and run it:
#     sh THIS_FILE FOLDER
# A file is moved only if it and the picture kept in its stead still have the bytes that were
# indexed. What belongs to it (sidecars, Live Photos, RAW files) goes with it, or it stays. Pictures
# inside archives and on remote storage are listed as comments.
set -u
folder=${1:?name a folder for the copies}
aside() { # kept, its sha256, copy, its sha256, what belongs to the copy ...
    for pair in "$2  $1" "$4  $3"; do
        printf '%s\\n' "$pair" | sha256sum --check --status - ||
            { echo "left: $3 (missing or changed: ${pair#*  })"; return; }
    done
    [ ! -L "$3" ] || { echo "left: $3 (a link, not a file)"; return; }
    [ ! "$1" -ef "$3" ] || { echo "left: $3 (another name of the very file to keep)"; return; }
    copy=$3
    shift 4
    for file in "$@" "$copy"; do
        target=$folder/${file#/}
        [ ! -e "$target" ] || { echo "left: $copy (there is a $target)"; return; }
    done
    mkdir -p "$folder/$(dirname "${copy#/}")"
    for file in "$@" "$copy"; do
        [ ! -e "$file" ] || mv -n -- "$file" "$folder/${file#/}" || return
    done
}
"""


def as_script(copies: Sequence[Copy]) -> str:
    """Return a shell script that moves the copies into a folder."""
    lines = [SCRIPT]
    for copy in copies:
        reason = copy.row["reason"]
        for place, what in ((copy.place, "it"), (copy.kept, "the kept one")):
            if place.archive or "://" in place.uri or "\n" in place.uri:
                name = json.dumps(copy.place.uri)
                lines.append(f"# {name}: {what} is not a plain local file; {reason}")
                break
        else:
            words = [copy.kept.uri, copy.kept.sha256, copy.place.uri, copy.place.sha256]
            lines.append(f"# {reason}\naside {shlex.join([*words, *copy.companions])}")
    return "\n".join(lines) + "\n"
