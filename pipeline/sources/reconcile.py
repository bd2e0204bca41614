"""Compares an archive with its lake: which photos moved, came back, or are not there any more.

A photo is known by its bytes. What was listed at another place, or has another version than its
row, is read and hashed, if a row that lost its file could be it; nothing is decoded. The rest is
read as new.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.arrays import Bools, Ints
from pipeline.config import ReadConfig
from pipeline.errors import ConfigError, StorageError
from pipeline.lake.checkpoints import Mapper, in_process
from pipeline.lake.ledger import Keys, Ledger, content_key
from pipeline.lake.moves import Place
from pipeline.lake.shelf import CHUNK_ROWS
from pipeline.sources.members import Report
from pipeline.sources.plan import KnownShards, places_of
from pipeline.sources.read import read
from pipeline.sources.units import Extent, Plan, Unit, Units, archive_kind
from pipeline.storage.errors import within
from pipeline.storage.folder import Folder, printable

# Folders that are looked at for photos which no input covers; more would take longer than reading.
MOST_FOLDERS = 10_000
NOTHING: Keys = np.zeros(0, np.uint64)
READ = ["uri", "shard", "sha256", "file_version"]

# Returns the uri of each image by its id.
Uris = Callable[[Sequence[str]], Mapping[str, str]]


@dataclass(slots=True)
class Reconciled:
    """What became of photos of the lake.

    Attributes:
        places: where those are whose file has another place or version, by image id.
        back: the same of those that were gone.
        gone: ids of those that are not there any more.
        moved: how many of `places` have another place.
        whole: archives all of whose photos are in the lake, as `LakeStore.note_shards` takes them.
        notices: why nothing was taken for gone, in words.
    """

    places: dict[str, Place] = field(default_factory=dict)
    back: dict[str, Place] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    moved: int = 0
    whole: dict[str, tuple[str, int]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.places or self.back or self.gone or self.whole)

    def take_from(self, inputs: Plan) -> None:
        """Take what the lake's rows have followed out of a plan: it need not be read."""
        found = {place.uri for place in (*self.places.values(), *self.back.values())}
        if not found and not self.whole:
            return
        units, inputs.units = inputs.units, Units(inputs.units.options)
        for unit in units:
            if unit.kind != "files":
                name = inputs.places.real(printable(unit.base))
                if name in self.whole:
                    inputs.already_in_lake += self.whole[name][1]
                else:
                    inputs.units.append(unit)
                continue
            left = [k for k, n in enumerate(unit.names) if printable(unit.base + n) not in found]
            inputs.already_in_lake += len(unit.names) - len(left)
            if left:
                inputs.units.append(unit.some(left))


def to_hash(units: Iterable[Unit]) -> int:
    """Return how many bytes of units are to be read."""
    return sum(size for unit in units for size in unit.sizes if size > 0)


class Reconciler:
    """One comparison of what was listed with what the lake has.

    Args:
        inputs: as planned with the ledger.
        ledger: of the lake.
        uris: of images of the lake.
        options: storage options.
    """

    def __init__(
        self, inputs: Plan, ledger: Ledger, uris: Uris, options: Mapping[str, object]
    ) -> None:
        self.inputs, self.ledger, self.uris, self.options = inputs, ledger, uris, options
        self.result = Reconciled()
        self.places = inputs.places
        self.known = KnownShards(ledger, self.places)
        for row, place in inputs.unversioned.items():
            self.result.places[ledger.ids([row])[0]] = place
        self.missing = self._missing()
        self.free = ledger.mask("free")
        for piece in ledger.pieces():
            lost = self.missing[piece] | ledger.is_gone(piece)
            self.free[piece] = lost & (ledger.content[piece] != 0)
        self.units = self._to_compare()

    def run(
        self,
        config: ReadConfig,
        mapper: Mapper = in_process,
        compared: Callable[[int], None] = lambda _: None,
    ) -> Reconciled:
        """Read what is to be compared, and return what became of the photos of the lake.

        `compared` is told how many bytes were read of each unit.
        """
        found: list[dict[str, str | None]] = []
        shards: list[tuple[Unit, set[int]]] = []
        for unit, (hashed, damaged) in zip(
            self.units, mapper(_hashes, [(unit, config) for unit in self.units]), strict=True
        ):
            found += hashed
            compared(to_hash([unit]))
            if unit.kind != "files" and not damaged:
                shards.append((unit, {self._place(one) for one in hashed}))
        for unit, places in shards:
            rows = self.known.rows(unit)
            lost = rows[~np.isin(self.ledger.place[rows], np.array(list(places), np.uint64))]
            self.missing[lost] = True
            self.free[lost] = self.ledger.content[lost] != 0
        settled = self._match(found)
        self._note_whole([(unit, len(places)) for unit, places in shards])
        here = self.ledger.mask("here")
        here[list(settled)] = True
        self._take_what_renamed_folders_lost(np.array(sorted(settled), np.int64), here)
        gone = self.ledger.where(lambda piece: self.missing[piece] & ~here[piece])
        self.result.gone = set(self.ledger.ids(gone.tolist()))
        return self.result

    def _take_what_renamed_folders_lost(self, rows: Ints, settled: Bools) -> None:
        """Note that photos are gone which a folder had that was renamed, and has not any more.

        No input covers its old name. It counts as renamed when it is not there, at least half of
        its photos were found elsewhere, and it is not all that a folder held, as a mounted disk is.
        """
        ledger = self.ledger
        elsewhere = ~self.inputs.present[rows] & ~self.missing[rows] & ~ledger.is_gone(rows)
        rows = rows[elsewhere & (ledger.shard[rows] >= 0)]
        roots = {self._lost_root(ledger.shards[n]) for n in np.unique(ledger.shard[rows]).tolist()}
        for root in roots - {None}:
            inside = ledger.rows_of(self.known.below(str(root)))
            inside = inside[~ledger.is_gone(inside)]
            if 2 * settled[inside].sum() >= len(inside):
                self.missing[inside] = True

    def _lost_root(self, shard: str) -> str | None:
        """Return the highest folder at or above one that is not there; None if nobody can tell."""
        root = self.places.real(shard)
        try:
            while root != "/":
                above = root.rsplit("/", 1)[0] or "/"
                if Folder(root, self.options).exists():
                    return None
                if Folder(above, self.options).exists():
                    return root if self._names_in(above) else None
                root = above
        except (StorageError, ConfigError):
            return None
        return None

    def _place(self, row: Mapping[str, str | None]) -> int:
        return self.places.key(row["shard"], str(row["uri"]))

    def _missing(self) -> Bools:
        """Return which images are not where they were, though their input was listed whole."""
        present, missing = self.inputs.present, self.ledger.mask("missing")
        for extent in self.inputs.extents:
            missing[self._unlisted(extent)] = True
        if self.inputs.units or any(present[piece].any() for piece in self.ledger.pieces()):
            absent = np.array(self.inputs.absent, np.int64)
            missing[absent[~present[absent]]] = True
        return missing

    def _unlisted(self, extent: Extent) -> Ints:
        """Return the rows that an input covers and does not list any more."""
        ledger = self.ledger
        covered = np.zeros(len(ledger.shards) + 1, bool)
        covered[self.known.below(extent.root) + 1] = True
        present = self.inputs.present

        def lost(piece: slice) -> Bools:
            away = present[piece] | ledger.is_gone(piece)
            return np.asarray(covered[ledger.shard[piece] + 1] & ~away)

        rows = ledger.where(lost)
        if extent.pattern and len(rows):
            uris = self.uris(ledger.ids(rows))
            matches = [_matches(extent, uris.get(i, "")) for i in ledger.ids(rows)]
            rows = rows[np.array(matches, bool)]
        kept = ""
        if len(rows) and not extent.files:
            kept = f"{extent.text} is empty; is its disk mounted?"
        elif len(rows) and extent.unlisted:
            kept = f"{extent.text} could not be listed whole ({printable(extent.unlisted[0])})"
        if kept:
            self.result.notices.append(f"{kept} Its {len(rows)} photos are not taken for gone")
            return rows[:0]
        for folder in extent.empty if len(rows) else ():
            root = self.places.real(printable(folder))
            inside = np.isin(ledger.shard[rows], self.known.below(root))
            if inside.any():
                self.result.notices.append(
                    f"{printable(folder)} is empty; is its disk mounted? Its {inside.sum()} photos "
                    "are not taken for gone; if they are, remove the folder"
                )
                rows = rows[~inside]
        return rows

    def _to_compare(self) -> list[Unit]:
        """Return what is to be hashed: what changed, and what a photo without its file may be."""
        if not len(self.ledger):
            return []
        units = self.inputs.units
        shards = [unit for unit in units if unit.kind != "files"]
        known = [len(self.known.rows(unit)) > 0 for unit in shards]
        self._look_elsewhere(_sizes(units) if all(known) else None)
        sizes = self._sizes_of_free()
        chosen: list[Unit] = []
        if len(sizes) or self.inputs.rereads:
            files = (self._of_files(unit, sizes) for unit in units if unit.kind == "files")
            chosen = [unit for unit in files if unit.names]
        for unit, is_known in zip(shards, known, strict=True):
            if self._changed(unit) if is_known else len(sizes):
                chosen.append(unit)
        return chosen

    def _sizes_of_free(self) -> Ints:
        """Return the sizes of the photos that a file without a row could be, in order."""
        sizes = (self.ledger.size[piece][self.free[piece]] for piece in self.ledger.pieces())
        return _distinct(sizes)

    def _changed(self, shard: Unit) -> bool:
        """Return whether an archive that the lake knows has another version."""
        ledger, rows = self.ledger, self.known.rows(shard)
        rows = rows[~ledger.is_again(rows)].tolist()
        return not all(ledger.is_current(row, shard.version(0)) for row in rows)

    def _of_files(self, unit: Unit, free: Ints) -> Unit:
        """Return the files of a unit that are worth a look, by the sizes of those they may be."""
        ledger = self.ledger
        rows = ledger.at(places_of(unit.base, unit.names, self.places))
        sizes = np.array(unit.sizes, np.int64)
        lost = np.isin(sizes, free) | ((sizes < 0) & (len(free) > 0))
        chosen = np.flatnonzero(np.where(rows >= 0, ~ledger.is_again(rows), lost)).tolist()
        return unit.some(chosen)

    def _look_elsewhere(self, sizes: Ints | None) -> None:
        """Find out which photos that no input covers have lost their files, of some sizes or all.

        So that a folder is recognised which was renamed, and is given under its new name alone.
        """
        ledger, every = self.ledger, sizes is None or -1 in sizes
        unknown = ledger.mask("unknown")
        folders = np.zeros(len(ledger.shards) + 1, bool)
        for piece in ledger.pieces():
            known = self.inputs.present[piece] | self.missing[piece] | ledger.is_gone(piece)
            here = ~known & (ledger.content[piece] != 0)
            if sizes is not None and not every:
                here &= np.isin(ledger.size[piece], sizes)
            unknown[piece] = here
            folders[ledger.shard[piece][here] + 1] = True
        for number in np.flatnonzero(folders[1:])[:MOST_FOLDERS].tolist():
            rows = ledger.rows_of([number])
            rows = rows[unknown[rows]]
            there = self._there(ledger.shards[number])
            self.free[rows] = there is not None and ~np.isin(ledger.place[rows], there)

    def _match(self, found: Sequence[Mapping[str, str | None]]) -> set[int]:
        """Find the row of each photo that was hashed, and return the rows that were found."""
        ledger = self.ledger
        rows = ledger.at([self._place(one) for one in found]).tolist()
        settled: set[int] = set()
        left: dict[int, list[Mapping[str, str | None]]] = defaultdict(list)
        for one, row in zip(found, rows, strict=True):
            content = content_key(one["sha256"])
            if row >= 0 and content and content == int(ledger.content[row]):
                settled.add(row)
                self._settle(row, one)
                continue
            if content:
                left[content].append(one)
                if row >= 0 and not ledger.is_gone(row):
                    self.free[row] = True  # its file holds something else now
        for row, one in self._pairs(settled, left):
            settled.add(row)
            self._settle(row, one)
            self.result.moved += not ledger.is_gone(row)
        return settled

    def _pairs(
        self, settled: set[int], left: Mapping[int, list[Mapping[str, str | None]]]
    ) -> Iterator[tuple[int, Mapping[str, str | None]]]:
        """Pair files with free rows of the same bytes: those of one name first, then in order."""
        ledger = self.ledger
        free = {
            content: [r for r in ledger.with_content(content).tolist()
                      if self.free[r] and r not in settled]
            for content in left
        }  # fmt: skip
        several = [r for key, rows in free.items() if len(rows) + len(left[key]) > 2 for r in rows]
        ids = ledger.ids(several)
        uris = self.uris(ids) if several else {}
        names = {row: _name(uris.get(i, "")) for row, i in zip(several, ids, strict=True)}
        for content, rows in free.items():
            others = []
            for one in left[content]:
                same = [row for row in rows if names.get(row) == _name(str(one["uri"]))]
                if same:
                    rows.remove(same[0])
                    yield same[0], one
                else:
                    others.append(one)
            yield from zip(rows, others, strict=False)

    def _settle(self, row: int, one: Mapping[str, str | None]) -> None:
        place = Place(str(one["uri"]), one["shard"], one["file_version"])
        where = self.result.back if self.ledger.is_gone(row) else self.result.places
        where[self.ledger.ids([row])[0]] = place

    def _note_whole(self, shards: Sequence[tuple[Unit, int]]) -> None:
        """Note the archives, each with its number of images, that have all in the lake."""
        found = (*self.result.places.values(), *self.result.back.values())
        here = Counter(self.places.real(place.shard) for place in found if place.shard)
        for unit, images in shards:
            name, version = self.known.name(unit), unit.version(0)
            if version and here[name] == images:
                self.result.whole[name] = (version, images)

    def _there(self, shard: str) -> Keys | None:
        """Return the places of what is in a folder; None if all may be there."""
        try:
            if not Folder(shard, self.options).exists():
                return NOTHING
            if archive_kind(shard):
                return None
            names = self._names_in(shard)
        except (StorageError, ConfigError):
            return None
        keys = [self.places.key(shard, f"{shard.rstrip('/')}/{name}") for name in names]
        return np.array(keys, np.uint64)

    def _names_in(self, where: str) -> list[str]:
        folder = Folder(where, self.options)
        paths = within(lambda: folder.fs.ls(folder.path(), detail=False), "list", where)
        return [printable(path.rstrip("/").rsplit("/", 1)[-1]) for path in paths]


def _sizes(units: Iterable[Unit]) -> Ints:
    """Return the sizes of loose files, each once, in order."""
    return _distinct(np.array(unit.sizes, np.int64) for unit in units if unit.kind == "files")


def _distinct(pieces: Iterable[Ints]) -> Ints:
    """Return what is in some arrays, each number once, in order."""
    found = np.zeros(0, np.int64)
    pending: list[Ints] = []
    count = 0
    for piece in pieces:
        pending.append(piece)
        count += len(piece)
        if count > len(found) + CHUNK_ROWS:
            found, pending, count = np.unique(np.concatenate([found, *pending])), [], 0
    return np.unique(np.concatenate([found, *pending]))


def _matches(extent: Extent, uri: str) -> bool:
    """Return whether a glob matches a photo, its archive, or a folder that it lies in."""
    assert extent.pattern is not None
    parts = uri.split("#", 1)[0].split("/")
    ends = range(len(parts), 0, -1)
    return any(extent.pattern.match(path) for path in (uri, *("/".join(parts[:n]) for n in ends)))


def _name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1].rsplit("#", 1)[-1]


def _hashes(unit: Unit, config: ReadConfig) -> tuple[list[dict[str, str | None]], bool]:
    """Return place, hash and version of the images of a unit, and whether it is damaged."""
    report = Report()
    tables = [table.select(READ) for table in read(unit, Ledger.empty(), config, report)]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return rows, bool(report.damage)
