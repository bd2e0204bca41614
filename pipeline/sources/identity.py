"""What makes an image the same image at the next run: its place in its source."""

import hashlib
import itertools
import unicodedata

from pipeline.storage.folder import printable


def image_id(place: str, salt: str = "") -> str:
    """Return the id of the image at `place`, 32 hex digits.

    `place` is the path relative to the input root, or the shard's path and the key joined by
    "#". `salt` tells two images apart that have the same place under different roots. An image
    that is moved keeps its id.
    """
    # Surrogates stand for bytes that are not UTF-8: give them back as they were.
    text = f"{place}\0{salt}" if salt else place
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def normal(text: str) -> str:
    """Return a place or path in the composed form (NFC, Unicode annex 15), to be compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def spellings(place: str) -> list[str]:
    """Return the other normal forms of a place.

    macOS and some archivers write `é` as two characters, others as one: a copy has the other name.
    """
    if place.isascii():
        return []
    shard, link, key = place.rpartition("#")
    folder, slash, name = key.rpartition("/")
    # A zip may keep its members' forms while its own name and its folders get the other one.
    parts = [_forms(shard), [link], _forms(folder), [slash], _forms(name)]
    found = dict.fromkeys("".join(one) for one in itertools.product(*parts))
    return [form for form in found if form != place]


def _forms(text: str) -> list[str]:
    return [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]


class Keys:
    """Gives every member of one archive a key of its own.

    A name that occurs again gets `@2`, `@3` ..., so that no member hides another.
    """

    def __init__(self) -> None:
        self._next: dict[str, int] = {}
        self.repeated: list[str] = []

    def __len__(self) -> int:
        return len(self._next)

    def key(self, name: str) -> str:
        """Return the key of the next member called `name`."""
        if name not in self._next:
            self._next[name] = 2
            return name
        self.repeated.append(printable(name))
        while (candidate := f"{name}@{self._next[name]}") in self._next:
            self._next[name] += 1
        self._next[name] += 1
        self._next[candidate] = 2
        return candidate
