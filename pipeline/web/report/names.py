"""Names: of the pages, and of photos as a page shows them."""

import hashlib
import re

import pyarrow as pa
import pyarrow.compute as pc

_ID = re.compile("[0-9a-f]{16}")
PAGE = re.compile(
    r"(?:index|speed|evaluation|(?:people|once|duplicates|person-[0-9a-f]{16})(?:-[0-9]+)?)\.html"
)


def page_name(stem: str, number: int = 1) -> str:
    """Return the file name of page `number`, from 1, of a kind of pages."""
    return f"{stem}.html" if number == 1 else f"{stem}-{number}.html"


def person_stem(person_id: str) -> str:
    """Return the start of the names of a person's pages; safe for any id."""
    if not _ID.fullmatch(person_id):
        person_id = hashlib.blake2b(person_id.encode(), digest_size=8).hexdigest()
    return f"person-{person_id}"


def common_folder(uris: pa.ChunkedArray) -> str:
    """Return the folder that all photos share, with its closing slash; empty if there is none."""
    if not len(uris):
        return ""
    ends = pc.min_max(uris).as_py()
    low, high = ends["min"] or "", ends["max"] or ""
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), None)
    shared = low[: same if same is not None else min(len(low), len(high))]
    return shared[: shared.rfind("/") + 1]


def short_name(uri: str, folder: str) -> str:
    """Return a photo's name without what it shares with all others."""
    return uri.removeprefix(folder) or uri


def split_name(name: str) -> tuple[str, str]:
    """Return the last part of a photo's name, which tells most, and what stands before it."""
    archive, mark, member = name.rpartition("#")
    folder, slash, last = (member if mark else name).rpartition("/")
    if not last:
        return name, ""
    return last, f"{archive}{mark}{folder}" if slash else archive
