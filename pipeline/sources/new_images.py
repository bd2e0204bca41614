"""Tells which images of a unit are to be read, and gives them their ids and rows."""

import hashlib
import re

from pipeline.errors import ErrorCode
from pipeline.lake.ledger import Ledger, Places, content_key
from pipeline.lake.tombstones import REFUSED
from pipeline.sources.identity import image_id
from pipeline.sources.members import Member, Report, shown
from pipeline.sources.plan import parent
from pipeline.sources.units import Unit
from pipeline.sources.walk import (
    HEAD_BYTES,
    UNOPENED,
    extension_of,
    is_uncertain,
    not_an_image,
    reason_by_bytes,
)
from pipeline.storage.folder import printable

# What `Keys` appends to a name that occurs again.
_REPETITION = re.compile(r"@\d+$")


class NewImages:
    """Decides for each image of a unit whether it is to be read, and under which id.

    An image of the lake is known by its place, and read again when its file is another one: it
    keeps its id. The id of a new image is the hash of its place relative to its input root, or of
    its full address where another image has that id.
    """

    def __init__(self, unit: Unit, ledger: Ledger, report: Report) -> None:
        self.unit = unit
        self.ledger = ledger
        self.report = report
        self._place = f"{unit.place}#" if unit.place else ""
        self._link = "" if unit.kind == "files" else "#"
        self._shard = "" if unit.kind == "files" else printable(unit.base)
        self._places = Places()
        self._wanted: dict[str, tuple[int, str | None, int]] = {}
        self._unnamed: list[tuple[dict[str, object], str, int]] = []

    def wanted(self, key: str, index: int = 0) -> bool:
        """Return whether the bytes of image `key` are needed, and keep what `row` needs."""
        version = self.unit.version(index)
        place = self._places.key(self._shard_of(key), printable(self._address(key)))
        row = int(self.ledger.at([place])[0])
        if row >= 0 and self.ledger.is_current(row, version, self.unit.size_of_file(index)):
            self.report.already_in_lake += 1
            return False
        if row >= 0 and self.ledger.is_gone(row):
            row = -1  # another image has its place now
        self._wanted[key] = (row, version, index)
        return True

    def row(self, member: Member) -> dict[str, object] | None:
        """Return the image's row, or None when the lake turns out to have it, or it is no image.

        A new image has no id before `name_new`.
        """
        row, version, index = self._wanted.pop(member.key)
        data = member.data
        digest = hashlib.sha256(data).hexdigest() if data is not None else None
        address = self._address(member.key)
        if row >= 0 and not self.ledger.is_again(row):
            if digest is None:  # what the lake has of it is better than nothing
                self.report.skipped["changed, and cannot be read now"] += 1
                return None
            if content_key(digest) == int(self.ledger.content[row]):
                self.report.already_in_lake += 1
                return None
        if self.ledger.forgotten.hides(printable(address), digest):
            self.report.skipped[REFUSED] += 1
            return None
        if self._is_no_image(member):
            return None
        fields: dict[str, object] = {
            "image_id": self.ledger.ids([row])[0] if row >= 0 else None,
            "uri": printable(address),
            "shard": self._shard_of(member.key),
            "sha256": digest,
            "bytes": member.size if member.size >= 0 else None,
            "file_version": version,
            "data": data,
            "error": member.error.value if member.error else None,
            "error_detail": printable(member.detail) or None,
        }
        if row < 0:
            self._unnamed.append((fields, member.key, index))
        return fields

    def name_new(self) -> None:
        """Give ids to the new images among the rows so far: the ledger may be far away."""
        plain = [image_id(self._place + key) for _, key, _ in self._unnamed]
        taken = self.ledger.has(plain).tolist()
        for (fields, key, index), identity, is_taken in zip(
            self._unnamed, plain, taken, strict=True
        ):
            salted = index in self.unit.salted or is_taken or self._is_refused(identity)
            fields["image_id"] = self._salted_id(key) if salted else identity
        self._unnamed = []

    def _is_no_image(self, member: Member) -> bool:
        """Count what turns out to be no image, where its name does not tell."""
        name = _REPETITION.sub("", member.key)
        if (self.unit.base + name).startswith(("http://", "https://")):
            name = name.split("?")[0]
        if self.unit.kind == "parquet" or not is_uncertain(name):
            return False
        if member.data is not None:
            reason = reason_by_bytes(member.data[:HEAD_BYTES], name)
        elif member.error == ErrorCode.UNSAFE_MEMBER and extension_of(name):
            reason = not_an_image(name)  # a link that nobody would take for a photo
        else:
            return False
        if reason:
            self.report.skipped[reason] += 1
        if reason == UNOPENED:
            self.report.unopened.append(shown(member.key))
        return reason is not None

    def _salted_id(self, key: str) -> str:
        """Return an id made with the full address, that no image has, and no forgotten one had."""
        place, address = self._place + key, self._address(key)
        salt, number = address, 1
        while self._is_taken(image_id(place, salt)):
            number += 1
            salt = f"{address}#{number}"
        return image_id(place, salt)

    def _is_taken(self, identity: str) -> bool:
        return self._is_refused(identity) or bool(self.ledger.has([identity])[0])

    def _is_refused(self, identity: str) -> bool:
        forgotten = self.ledger.forgotten
        return bool(forgotten.images) and forgotten.key(identity) in forgotten.images

    def _address(self, key: str) -> str:
        return self.unit.base + self._link + key

    def _shard_of(self, key: str) -> str:
        return self._shard or parent(self.unit.base, key)
