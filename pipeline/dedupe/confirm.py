"""Confirms near copies: the originals are read again, small, and looked at place by place.

No pictures are kept for it: those that are asked about are read when they are, and go with the
workspace of the run. What was said of a pair is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrays import Bools, Bytes, Floats32, Floats64, Ints
from pipeline.config import DecodeConfig
from pipeline.dedupe.algorithms.dihedral import Turn
from pipeline.dedupe.algorithms.looks import SIDE, are_one_picture, look, trimmed
from pipeline.dedupe.algorithms.pictures import Pictures, places_of
from pipeline.dedupe.algorithms.placement import alike, lies_inside
from pipeline.dedupe.gather import hexes
from pipeline.dedupe.similar import originals
from pipeline.errors import ImageError
from pipeline.imaging.borders import content
from pipeline.imaging.record import Decoded
from pipeline.imaging.sandbox import Sandbox
from pipeline.lake import schema
from pipeline.lake.checkpoints import Arrays, TaskRunner, Workspace
from pipeline.lake.columns import matrix
from pipeline.lake.store import LakeStore

READ = ("image_id", "uri", "shard", "sha256", "error")
FACES = ("image_id", "score", "embedding")
# A JPEG is decoded at a part of its size while it keeps this much.
DECODE_SIDE = 2 * SIDE
# Of the pictures near a kept one the nearest are asked first, and no more after so many refusals in
# a row: thousands of frames of one camera are not all compared with each other.
MOST_REFUSALS = 32
# Faces that the detector is sure of; a cosine that copies of a face reach, however small or pale.
SURE_SCORE, SAME_COSINE = 0.99, 0.25

WHOLE = np.array([0.0, 0.0, 1.0, 1.0])
SIMILAR = "similar"
# picture, picture, kind of evidence: 0, the number of a turn, or that of an embedding
Pair = tuple[int, int, int]


def read_looks(workspace: Workspace, name: str, lake: LakeStore, part: str, wanted: Bytes) -> None:
    """Leave the looks of some pictures of a part, and their faces' vectors.

    A picture has a second look where it has bars: of what lies inside them. One that is gone, has
    changed or cannot be decoded has none.
    """
    table = lake.read_part("images", part, READ).filter(pc.field("error").is_null())
    table = table.filter(pa.array(places_of(hexes(table["image_id"]), wanted) >= 0))
    indexed = dict(zip(*(table[n].to_pylist() for n in ("image_id", "sha256")), strict=True))
    looks: list[Bytes] = []
    owners: list[str] = []
    whole: list[Floats64] = []
    if len(table):
        with Sandbox(DecodeConfig(side=DECODE_SIDE)) as sandbox:
            for image_id, data in originals(lake, table):
                if sha256(data).hexdigest() != indexed[image_id]:
                    continue
                try:
                    image = sandbox.decode(data)[0]
                except ImageError:
                    continue
                pixels, found = image.pixels, [look(image.pixels)]
                if (box := content(pixels)) is not None:
                    x1, y1, x2, y2 = box
                    found.append(look(np.ascontiguousarray(pixels[y1:y2, x1:x2])))
                looks += found
                owners += [image_id] * len(found)
                whole += [there(image)] * len(found)
    faces = lake.read_part("faces", part, FACES).filter(pc.field("score") >= SURE_SCORE)
    faces = faces.filter(pc.is_in(faces["image_id"], pa.array(list(indexed), pa.string())))
    none = np.zeros((0, SIDE, SIDE), np.uint8)
    workspace.save_large(f"{name}-looks", np.stack(looks) if looks else none)
    column = pa.chunked_array([pa.array(owners, pa.string())])
    arrays: Arrays = {
        "owner": hexes(column),
        "there": np.array(whole).reshape(-1, 4),
        "face_owner": hexes(faces["image_id"]),
        "vectors": matrix(faces["embedding"]).astype(np.float16),
    }
    workspace.save(name, arrays)


@dataclass
class Confirmation:
    """Looks at pairs of pictures again, as a function of `groups.Confirm`.

    A pair whose pictures have not been read yet counts as confirmed until `read_missing` has read
    them and the pictures are grouped again.

    Attributes:
        tasks: runs the reading.
        lake: of the pictures.
        parts: of the lake.
        part: number of the part of each picture.
        pictures: all that are grouped.
        turns: what kinds of evidence from 1 on are.
    """

    tasks: TaskRunner
    lake: LakeStore
    parts: Sequence[str]
    part: Ints
    pictures: Pictures
    turns: tuple[Turn, ...]
    _said: dict[Pair, bool] = field(default_factory=dict)
    _looks: dict[int, list[Bytes]] = field(default_factory=dict)
    _there: dict[int, Floats64] = field(default_factory=dict)
    _faces: dict[int, Floats32] = field(default_factory=dict)
    _missing: set[int] = field(default_factory=set)
    _refused: set[Pair] = field(default_factory=set)
    _rounds: int = 0

    def __call__(self, kept: int, others: Ints, bits: Ints, kinds: Ints) -> Bools:
        """Return which of the others are copies of the kept picture, bool [N].

        Parts that faces show need no second look.
        """
        confirmed: Bools = kinds == len(self.turns) + 1
        refusals = 0
        for place in np.lexsort((bits, kinds)).tolist():
            if confirmed[place]:
                continue
            pair = self._pair(kept, int(others[place]), int(kinds[place]))
            if refusals < MOST_REFUSALS or pair in self._said:
                confirmed[place] = self._is_copy(pair)
            refusals = 0 if confirmed[place] else refusals + 1
            if not confirmed[place]:
                self._refused.add(pair)
        return confirmed

    def _pair(self, first: int, second: int, kind: int) -> Pair:
        return min(first, second), max(first, second), kind

    def _is_copy(self, pair: Pair) -> bool:
        if pair not in self._said:
            first, second, kind = pair
            unread = {first, second} - self._looks.keys()
            if unread:
                self._missing |= unread
                return True
            if not self._looks[first] or not self._looks[second]:
                return False
            self._said[pair] = self._compare(first, second, kind)
        return self._said[pair]

    def _compare(self, first: int, second: int, kind: int) -> bool:
        if self._other_people(first, second):
            return False
        if kind == self._similar:
            return self._placed(first, second)
        ways = seen(self.turns[kind - 1]) if kind else [(False, False, False)]
        one, other = self._looks[first], self._looks[second]
        boxes = np.stack([self._there[first], self._there[second]])
        if not kind and (boxes != WHOLE).any():  # of a picture that lost rows, what is there counts
            box = np.concatenate([boxes[:, :2].max(axis=0), boxes[:, 2:].min(axis=0)])
            return are_one_picture([trimmed(one[0], box)], [trimmed(other[0], box)])
        return any(are_one_picture([turned(look, *way) for look in one], other) for way in ways)

    @property
    def _similar(self) -> int:
        """Number of the evidence of an embedding, see `groups.Groups.turns`."""
        return len(self.turns) + 2

    def _placed(self, first: int, second: int) -> bool:
        """Whether two pictures are one, or one of them lies inside the other."""
        looks, pictures = self._looks, self.pictures
        if alike(looks[first][0], looks[second][0]) and are_one_picture(
            looks[first], looks[second]
        ):
            return True
        aspect = pictures.width / np.maximum(pictures.height, 1)
        return any(
            lies_inside(looks[part][0], looks[whole][0], (aspect[part], aspect[whole]))
            for part, whole in ((first, second), (second, first))
        )

    def _other_people(self, first: int, second: int) -> bool:
        """Whether both pictures have faces, and nobody of one is on the other."""
        one, two = self._faces.get(first), self._faces.get(second)
        return one is not None and two is not None and bool((one @ two.T).max() < SAME_COSINE)

    def read_missing(self) -> bool:
        """Read what was missing; whether there was anything."""
        if not self._missing:
            return False
        missing = np.array(sorted(self._missing))
        self._missing.clear()
        wanted = self.pictures.image_id[missing]
        # What was wanted stands in the name: a run that goes on may want others.
        which = blake2b(wanted.tobytes(), digest_size=4).hexdigest()
        step = f"looks-{self._rounds:02}-{which}"
        self._rounds += 1
        parts = np.unique(self.part[missing]).tolist()
        units = [(self.lake, self.parts[part], wanted) for part in parts]
        self.tasks.run(step, read_looks, units)
        self._looks |= {picture: [] for picture in missing.tolist()}
        for number in range(len(units)):
            name = f"{step}-{number:05}"
            left = self.tasks.workspace.load(name)
            looks = self.tasks.workspace.open_large(f"{name}-looks")
            for row, picture in enumerate(places_of(left["owner"], self.pictures.image_id)):
                self._looks[int(picture)].append(looks[row])
                self._there[int(picture)] = left["there"][row]
            owners = places_of(left["face_owner"], self.pictures.image_id)
            for picture in np.unique(owners).tolist():
                vectors = left["vectors"][owners == picture]
                self._faces[int(picture)] = vectors.astype(np.float32)
        return True

    def remember(self, table: pa.Table) -> None:
        """Take what was said of pairs before; pictures that are gone are left out."""
        ends = [places_of(hexes(table[n]), self.pictures.image_id) for n in ("first", "second")]
        kinds = {None: 0} | {turn.name: number for number, turn in enumerate(self.turns, 1)}
        kinds[SIMILAR] = self._similar
        said = (table[n].to_pylist() for n in ("turn", "copy"))
        for first, second, turn, copy in zip(*(end.tolist() for end in ends), *said, strict=True):
            if first >= 0 and second >= 0 and turn in kinds:
                self._said[self._pair(first, second, kinds[turn])] = copy

    def rows(self) -> pa.Table:
        """Return what was said of pairs, as rows of `schema.LOOKS`."""
        names = [None, *(turn.name for turn in self.turns), None, SIMILAR]
        said = []
        for (a, b, kind), copy in self._said.items():
            first, second = sorted((self._id(a), self._id(b)))
            said.append({"first": first, "second": second, "turn": names[kind], "copy": copy})
        return pa.Table.from_pylist(said, schema.LOOKS)

    def refused(self) -> Ints:
        """Return of each picture how many pairs with later ones were refused, int64 [N]."""
        first = np.array([pair[0] for pair in self._refused], np.int64)
        return np.bincount(first, minlength=len(self.pictures))

    def unread(self) -> Bools:
        """Return which pictures could not be read again, bool [N]."""
        found = np.zeros(len(self.pictures), bool)
        found[[picture for picture, looks in self._looks.items() if not looks]] = True
        return found

    def _id(self, picture: int) -> str:
        return bytes(self.pictures.image_id[picture]).hex()


def there(image: Decoded) -> Floats64:
    """Return the part of an upright picture that its file holds: x1, y1, x2, y2 in shares."""
    lies = image.orientation > 4  # the rows of the file are columns
    lost = image.damaged_rows / (image.width if lies else image.height)
    first, side = image.orientation in (3, 4, 6, 7), 0 if lies else 1
    box = WHOLE.copy()
    box[side if first else side + 2] = lost if first else 1 - lost
    return box


def seen(turn: Turn) -> list[tuple[bool, bool, bool]]:
    """Return whether to transpose, to exchange columns and rows: of either of two pictures."""
    one = (turn.transposed, turn.columns, turn.rows)
    return [one] if turn.mutual else [one, (turn.transposed, turn.rows, turn.columns)]


def turned(one: Bytes, transposed: bool, columns: bool, rows: bool) -> Bytes:
    """Return a look after a turn."""
    one = one.T if transposed else one
    return one[:: -1 if rows else 1, :: -1 if columns else 1]
