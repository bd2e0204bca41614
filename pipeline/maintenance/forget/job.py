"""Forgetting from beginning to end: find what is meant, ask, remove, prove."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.lake.lock import RunLock
from pipeline.lake.store import LakeStore
from pipeline.maintenance.forget.prove import Cleartext, Proof, prove
from pipeline.maintenance.forget.run import Removed, forget, sweep
from pipeline.maintenance.forget.target import Target, find
from pipeline.maintenance.hold import finish_forgetting, new_run_id
from pipeline.storage.scratch import remove_leftovers

Confirm = Callable[[Target], bool]


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to be forgotten.

    Attributes:
        persons: ids, starts of ids, or exact names: all their faces, and the name.
        images: image_ids, uris or names of photos: their rows, and all their faces.
        faces: face ids.
    """

    persons: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    faces: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything is named."""
        return bool(self.persons or self.images or self.faces)


@dataclass(frozen=True)
class Forgetting:
    """What came of it.

    Attributes:
        target: what was meant; None when nothing was named.
        removed: what became of the tables; None when nothing was removed.
        proof: what is left of all that was ever forgotten; None when nobody asked.
        ever: whether anything was ever forgotten in this lake.
    """

    target: Target | None
    removed: Removed | None
    proof: Proof | None
    ever: bool


def run(
    lake: LakeStore,
    wanted: Wanted,
    *,
    proof: bool = False,
    wait: bool = False,
    confirm: Confirm | None = None,
) -> Forgetting:
    """Forget what is wanted; without anything wanted, go on with what was stopped.

    Args:
        lake: it is held from the search of what is meant to the proof.
        wanted: nothing: what a backup brought back is removed again, unless a proof is asked for.
        proof: read every file, and say what is left of all that was ever forgotten.
        wait: for another run on the lake.
        confirm: is shown what would go, and says whether it may; without it, it may.

    Raises:
        ConfigError: there is no such person, photo or face.
        LakeBusyError: another run holds the lake.
    """
    run_id = new_run_id("forget")
    target, clear, removed = None, None, None
    with RunLock(lake.folder, run_id, wait):
        stopped = finish_forgetting(lake)
        if wanted:
            target = find(lake, wanted.persons, wanted.images, wanted.faces)
            if confirm is not None and not confirm(target):
                return Forgetting(target, None, None, bool(lake.forgotten()))
            remove_leftovers()
            removed = forget(lake, target, run_id)
            clear = Cleartext(sorted(target.texts()), sorted(target.names), target.blobs())
        ever = bool(lake.forgotten())
        # With a proof alone nothing is changed: what is there is what is told.
        if not wanted and ever and not proof and not stopped:
            remove_leftovers()
            removed = sweep(lake, run_id)
        found = prove(lake, lake.forgotten(), clear) if proof else None
    return Forgetting(target, removed, found, ever)
