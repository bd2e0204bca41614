"""What belongs to a photo and goes where it goes: sidecars, Live Photos, edits, the RAW twin."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from pipeline.imaging.formats import IMAGE_EXTENSIONS
from pipeline.storage.folder import Folder

# photo.jpg.xmp (digiKam, darktable, Facelake), photo.jpg.json (Google Takeout), photo.jpg.pp3 ...
BEHIND_THE_NAME = frozenset(
    ("xmp", "json", "supplemental-metadata.json", "pp3", "dop", "cos", "arp", "on1", "thm")
)
RAW = frozenset((
    "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "gpr", "iiq", "kdc", "mef",
    "mos", "mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw",
    "x3f",
))  # fmt: skip
# photo.xmp (Lightroom), photo.aae (edits in Apple Photos), the moving half of a Live Photo, a
# voice memo, a camera's thumbnail, and the RAW file that a camera writes beside its JPEG.
BESIDE_THE_NAME = RAW | {"xmp", "aae", "mov", "mp4", "m4v", "wav", "thm", "pp3", "dop"}


class Companions:
    """Finds the files that belong to photos; folders are listed once.

    Args:
        options: of the storage where photos lie.
        going: addresses of the photos that go; what one that stays has a claim to stays as well.
    """

    def __init__(self, options: Mapping[str, Any], going: Collection[str]) -> None:
        self._options, self._going = options, going
        self._listed = lru_cache(maxsize=256)(self._list)

    def of(self, uri: str) -> tuple[str, ...]:
        """Return the addresses of what belongs to a photo that is a file of its own."""
        folder, _, name = uri.rpartition("/")
        files = self._listed(folder)
        stem = name.rpartition(".")[0].lower() or name.lower()
        is_shared = any(
            other != name and f"{folder}/{other}" not in self._going
            for other in files.get(stem, ())
            if f".{other.rpartition('.')[2].lower()}" in IMAGE_EXTENSIONS
        )
        beside = files.get(stem, ()) if not is_shared else ()
        found = [one for one in beside if _ending(one, stem) in BESIDE_THE_NAME]
        behind = files.get(name.lower(), ())
        found += [one for one in behind if _ending(one, name) in BEHIND_THE_NAME]
        return tuple(f"{folder}/{one}" for one in dict.fromkeys(found) if one != name)

    def _list(self, folder: str) -> dict[str, list[str]]:
        """Return the files of a folder by all that stands before a dot in their names."""
        options = self._options if "://" in folder else {}
        by_start: dict[str, list[str]] = {}
        for name in sorted(Folder(folder or "/", options).files()):
            for at, letter in enumerate(name):
                if letter == "." and at:
                    by_start.setdefault(name[:at].lower(), []).append(name)
        return by_start


def _ending(name: str, start: str) -> str:
    return name[len(start) + 1 :].lower()
