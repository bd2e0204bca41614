"""What is within reach: weights of models, and folders or buckets."""

import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import FacelakeError
from pipeline.maintenance.doctor.item import Item
from pipeline.models.cards.card import ModelCard, known_cards
from pipeline.models.weights.store import WeightStore
from pipeline.storage.errors import within
from pipeline.storage.folder import Folder, is_local

DEPTH = 4  # folders that are entered to find a file to read


def weights(store: WeightStore) -> list[Item]:
    """Return the state of the weights; bundled ones are checked by their checksums."""
    return [_weights(store, card) for card in known_cards().values()]


def _weights(store: WeightStore, card: ModelCard) -> Item:
    state, group = store.state(card), "weights"
    if card.bundled:
        wrong = [one.path.name for one in store.verify(card) if one.actual != one.expected]
        value = f"damaged: {', '.join(wrong)}" if wrong else "bundled, checked"
        return Item(group, card.name, value, "reinstall facelake" if wrong else "", bool(wrong))
    if state != "missing":
        return Item(group, card.name, state)
    advice = f"facelake weights fetch {card.name}" if card.files[0].url else "see docs/models.md"
    return Item(group, card.name, "not fetched", advice)


def access(address: str, options: Mapping[str, Any], read_only: bool = False) -> list[Item]:
    """Return whether a folder, local or remote, can be listed, read and written to.

    Args:
        address: of photos or of a lake.
        options: of the back end.
        read_only: writing is not tried: else a small file is made, and removed.
    """
    folder = Folder(address, options)
    found: list[str] = []
    items = [_tried(folder, "list", lambda: _listed(folder, found, read_only))]
    if found:
        items.append(_tried(folder, "read", lambda: _read(folder, found[0])))
    if not items[0].advice and not read_only:
        items.append(_tried(folder, "write", lambda: _written(folder)))
    return items


def _tried(folder: Folder, name: str, call: Callable[[], str]) -> Item:
    try:
        return Item(folder.url, name, within(call, name, folder.url))
    except FacelakeError as error:
        return Item(folder.url, name, "no", str(error), necessary=True)


def _listed(folder: Folder, found: list[str], must_exist: bool) -> str:
    """Say what is there, and note a file that can be read."""
    path = folder.path()
    try:
        entries = first = folder.fs.ls(path, detail=True)
    except FileNotFoundError:
        if must_exist:
            raise
        return "there is nothing yet"
    for _ in range(DEPTH):
        files = [one["name"] for one in entries if one["type"] == "file" and one["size"]]
        folders = [one["name"] for one in entries if one["type"] == "directory"]
        if files or not folders:
            found.extend(files[:1])
            break
        entries = folder.fs.ls(folders[0], detail=True)
    return f"yes, {len(first):,} entries"


def _read(folder: Folder, path: str) -> str:
    folder.fs.cat_file(path, start=0, end=1)
    return "yes"


def _written(folder: Folder) -> str:
    if folder.fs.isfile(folder.path()):
        return "not tried: it is a file"
    place = folder
    if is_local(folder.fs):  # a folder that is made by this would stay
        while not os.path.isdir(place.path()):
            place = Folder(os.path.dirname(place.url))
    name = f".facelake-doctor-{uuid.uuid4().hex}"
    place.publish(name, b"may be removed")
    place.remove(name)
    return "yes"
