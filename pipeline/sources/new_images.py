"""Tells which images of a unit are new to the lake, and gives them their ids and rows."""

import hashlib
import os
import re

from pipeline.errors import ConfigError, ErrorCode, StorageError
from pipeline.lake.ledger import Ledger, content_key
from pipeline.lake.tombstones import REFUSED
from pipeline.sources.identity import are_two_files, image_id, spelled_otherwise
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
from pipeline.storage.folder import Folder, printable

# What `Keys` appends to a name that occurs again.
_REPETITION = re.compile(r"@\d+$")


class NewImages:
    """Decides for each image of a unit whether it is new, and under which id.

    An id is the hash of a place relative to its input root, so that it survives when the archive
    is moved. A second image with the same place under another root must not be taken for the first
    one. As long as the first is where it was, or has other bytes, the second gets an id of its own,
    salted with its full address. Otherwise the archive was moved, and nothing is new.
    """

    def __init__(self, unit: Unit, ledger: Ledger, report: Report) -> None:
        self.unit = unit
        self.ledger = ledger
        self.report = report
        self._place = f"{unit.place}#" if unit.place else ""
        self._link = "" if unit.kind == "files" else "#"
        self._shard = "" if unit.kind == "files" else printable(unit.base)
        self._ids: dict[str, tuple[str, int]] = {}
        self._spelled: dict[str, int] = {}
        self._shard_exists: dict[str, bool] = {}
        self._real_paths: dict[str, str] = {}

    def wanted(self, key: str, index: int = 0) -> bool:
        """Return whether the bytes of image `key` are needed, and keep its id until `row`."""
        plain = image_id(self._place + key)
        salted = self._salted_id(key)
        row, salted_row = self.ledger.find([plain, salted]).tolist()
        # Which of two roots came first, and has the plain id, may differ from run to run.
        in_lake = salted_row >= 0 or (row >= 0 and self._same_place(self.ledger.shard_of(row), key))
        identity = plain
        if (
            index in self.unit.salted
            or self._is_taken(plain)
            or (row >= 0 and not in_lake and self._exists(self.ledger.shard_of(row), key))
        ):
            identity, row = salted, -1
        if in_lake:
            self.report.already_in_lake += 1
            return False
        if row < 0 and not (self._place + key).isascii():
            other = self._spelled_otherwise(key)
            if other >= 0:
                self._spelled[key] = other
        self._ids[key] = (identity, row)
        return True

    def row(self, member: Member) -> dict[str, object] | None:
        """Return the image's row, or None when the lake turns out to have it, or it is no image."""
        identity, contested = self._ids.pop(member.key)
        data = member.data
        digest = hashlib.sha256(data).hexdigest() if data is not None else None
        other = self._spelled.pop(member.key, -1)
        if digest and other >= 0 and content_key(digest) == int(self.ledger.content[other]):
            self.report.already_in_lake += 1
            return None
        address = self.unit.base + self._link + member.key
        if contested >= 0:
            if digest and content_key(digest) == int(self.ledger.content[contested]):
                self.report.already_in_lake += 1
                return None
            identity = self._salted_id(member.key)
        if self.ledger.forgotten.hides(printable(address), digest):
            self.report.skipped[REFUSED] += 1
            return None
        if self._is_no_image(member):
            return None
        return {
            "image_id": identity,
            "uri": printable(address),
            "shard": self._shard_of(member.key),
            "sha256": digest,
            "bytes": member.size if member.size >= 0 else None,
            "data": data,
            "error": member.error.value if member.error else None,
            "error_detail": printable(member.detail) or None,
        }

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

    def _spelled_otherwise(self, key: str) -> int:
        """Return the row of an image whose place has another normal form in the lake, or -1.

        It is this one if it has these bytes, unless both forms are there.
        """
        place = self._place + key
        found = spelled_otherwise(place, self.ledger)
        return next((r for form, r in found if not self._are_both_there(key, place, form)), -1)

    def _are_both_there(self, key: str, place: str, other: str) -> bool:
        if self.unit.kind != "files":  # members of one archive are compared by their bytes
            return False
        base = self.unit.base
        if "://" in base + key:
            return other in self.unit.names
        return are_two_files(base + place, base + other)

    def _salted_id(self, key: str) -> str:
        """Return the id that an image has by its full address."""
        address = self.unit.base + self._link + key
        own = image_id(self._place + key, address)
        number = 1
        while self._is_taken(own):
            number += 1
            own = image_id(self._place + key, f"{address}#{number}")
        return own

    def _is_taken(self, identity: str) -> bool:
        """Return whether an id was that of a forgotten image: no other may have it."""
        forgotten = self.ledger.forgotten
        return bool(forgotten.images) and forgotten.key(identity) in forgotten.images

    def _shard_of(self, key: str) -> str:
        return self._shard or parent(self.unit.base, key)

    def _same_place(self, shard: str, key: str) -> bool:
        """Return whether `shard` is where image `key` is, by this name or through a link."""
        here = self._shard_of(key)
        if shard == here:
            return True
        if "://" in shard or "://" in here:
            return False
        for path in (shard, here):
            if path not in self._real_paths:
                self._real_paths[path] = os.path.realpath(path)
        return self._real_paths[shard] == self._real_paths[here]

    def _exists(self, shard: str, key: str) -> bool:
        """Return whether the image that holds this place is still where it was indexed."""
        if self.unit.kind == "files":
            return self._is_there(f"{shard}/{key.rsplit('/', 1)[-1]}")
        if shard not in self._shard_exists:
            self._shard_exists[shard] = self._is_there(shard)
        return self._shard_exists[shard]

    def _is_there(self, where: str) -> bool:
        try:
            return Folder(where, self.unit.options).exists()
        except (StorageError, ConfigError):
            return True  # cannot tell: keep both images
