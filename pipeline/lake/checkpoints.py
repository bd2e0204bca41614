"""Checkpoints: arrays that a step of a run saves in the lake, for the next step or a restart."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.storage.errors import storage_errors
from pipeline.storage.folder import Folder, is_local

Arrays = dict[str, npt.NDArray[Any]]
# Called with a step, how much of it is finished, and how much there is; 0 if that is not known.
Progress = Callable[[str, int, int], None]


class Mapper(Protocol):
    """Calls a function on many argument lists, wherever it likes, and yields in order."""

    def __call__(
        self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
    ) -> Iterator[Any]:
        """Yield `function(*each)` for each of `arguments`."""


@cache
def allow_many_files() -> None:
    """Let this process open as many files as the system allows: a mapped file counts as open."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def in_process(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """Call one after the other in this process: a `Mapper` for small lakes and tests."""
    for each in arguments:
        yield function(*each)


@dataclass(frozen=True)
class Workspace:
    """A folder of arrays; a file is there whole or not at all.

    Attributes:
        folder: where; pickles as its address.
    """

    folder: Folder

    @classmethod
    def only(cls, parent: Folder, key: str) -> "Workspace":
        """Return the folder `key` of `parent`, and remove the others: runs with other input."""
        fs = parent.fs
        with storage_errors("clear", parent.url):
            if fs.exists(parent.path()):
                for entry in fs.ls(parent.path(), detail=False):
                    if entry.rstrip("/").rsplit("/", 1)[-1] != key:
                        fs.rm(entry, recursive=True)
        return cls(parent.child(key))

    def save(self, name: str, arrays: Arrays) -> None:
        """Write several arrays under one name."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self.folder.publish(f"{name}.npz", buffer.getvalue())

    def load(self, name: str) -> Arrays:
        """Return the arrays of a name."""
        with np.load(io.BytesIO(self.folder.read(f"{name}.npz"))) as file:
            return {key: file[key] for key in file.files}

    def save_large(self, name: str, array: npt.NDArray[Any]) -> None:
        """Write one array that others read parts of."""

        def write(path: str) -> None:
            with open(path, "wb") as file:
                np.save(file, array)

        self.folder.publish_by(f"{name}.npy", write)

    def open_large(self, name: str) -> npt.NDArray[Any]:
        """Return an array, mapped into memory where the folder is local."""
        if not is_local(self.folder.fs):
            loaded: npt.NDArray[Any] = np.load(io.BytesIO(self.folder.read(f"{name}.npy")))
            return loaded
        allow_many_files()
        with storage_errors("read", f"{self.folder.url}/{name}.npy"):
            mapped: npt.NDArray[Any] = np.load(self.folder.path(f"{name}.npy"), mmap_mode="r")
            return mapped

    def names(self) -> set[str]:
        """Return the names that are there, of both kinds."""
        return {name.rsplit(".", 1)[0] for name in self.folder.files()}

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        with storage_errors("remove", self.folder.url):
            if self.folder.fs.exists(self.folder.path()):
                self.folder.fs.rm(self.folder.path(), recursive=True)


@dataclass(frozen=True)
class TaskRunner:
    """Runs the tasks of each step.

    Attributes:
        workspace: holds what the tasks leave.
        mapper: runs them.
        progress: called whenever one is finished.
    """

    workspace: Workspace
    mapper: Mapper
    progress: Progress = lambda *_: None

    def run(
        self, step: str, function: Callable[..., None], arguments: Sequence[tuple[Any, ...]]
    ) -> None:
        """Call `function(workspace, name, *each)` for each task that has not left its file yet.

        The function leaves `name` when it is done: a run that was killed goes on from there.
        """
        names = [f"{step}-{i:05}" for i in range(len(arguments))]
        finished_names = self.workspace.names()
        tasks = [(self.workspace, name, *each) for name, each in zip(names, arguments, strict=True)
                 if name not in finished_names]  # fmt: skip
        finished = len(arguments) - len(tasks)
        self.progress(step, finished, len(arguments))
        for _ in self.mapper(function, tasks):
            finished += 1
            self.progress(step, finished, len(arguments))
