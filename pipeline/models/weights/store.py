"""Finds the weights of a model: in the package, in the cache, or on the network.

Every file is checked by SHA-256 before it is used: against its card, or, where nobody published
a checksum, against the one that was pinned when the file was first seen. Never imports torch.
"""

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from filelock import FileLock, Timeout

from pipeline.config import Licences
from pipeline.errors import ConfigError, WeightsError
from pipeline.models.cards.card import ModelCard, ModelFile
from pipeline.models.weights.download import Progress, fetch

logger = logging.getLogger(__name__)

DATA = Path(__file__).parents[1] / "data"
LOCK_TIMEOUT_S = 3600.0  # another process may be downloading 110 MB over a slow line

# digests of this process by path, with the size and mtime they hold for: ten models loaded
# in one worker hash each file once
_digests: dict[Path, tuple[int, int, str]] = {}
_digests_lock = threading.Lock()


@dataclass(frozen=True)
class Check:
    """What `WeightStore.verify` found out about one file.

    Attributes:
        expected: the SHA-256 of the card or the pin; None if there is neither.
        actual: the SHA-256 of the file; None if it is missing.
    """

    card: str
    path: Path
    expected: str | None
    actual: str | None

    @property
    def damaged(self) -> bool:
        """Whether the file is there and is not what it should be."""
        return None not in (self.expected, self.actual) and self.expected != self.actual


class WeightStore:
    """The places where weights lie, and may be fetched from.

    Args:
        directory: cache; by default $FACELAKE_HOME/weights, else ~/.cache/facelake/weights.
        base_url: http, https or file URL or folder that holds the files by name, instead of
            the URLs of the cards; by default $FACELAKE_WEIGHTS_URL.
        licences: "commercial" refuses weights whose card does not say that their licence allows
            such use; by default $FACELAKE_LICENCES, else "any".

    Raises:
        ConfigError: $FACELAKE_LICENCES is neither.
    """

    def __init__(
        self,
        directory: Path | None = None,
        base_url: str | None = None,
        licences: Licences | None = None,
    ) -> None:
        self.directory = (directory or default_directory()).expanduser().absolute()
        self.base_url = base_url or os.environ.get("FACELAKE_WEIGHTS_URL") or None
        self.licences = licences or os.environ.get("FACELAKE_LICENCES") or "any"
        if self.licences not in get_args(Licences):
            raise ConfigError(f"FACELAKE_LICENCES is {self.licences!r}; give any or commercial")

    @classmethod
    def at(
        cls, directory: str | None, base_url: str | None, licences: Licences | None = None
    ) -> "WeightStore":
        """Return the store that options name; None: the default."""
        return cls(Path(directory) if directory else None, base_url, licences)

    def path(self, card: ModelCard, progress: Progress | None = None) -> Path:
        """Return the checked file of a model of one file, downloading it if need be.

        Raises:
            WeightsError: missing and not available, not what it should be, or not to be used by
                its licence.
        """
        (path,) = self.paths(card, progress)
        return path

    def paths(self, card: ModelCard, progress: Progress | None = None) -> tuple[Path, ...]:
        """Like `path`, for all files of the model, in the order of the card."""
        if self.licences == "commercial" and not card.commercial:
            raise WeightsError(
                f"The card of {card.name} does not say that the licence of its weights allows "
                f"commercial use ({card.licence}; training data: {card.training_data}). Use "
                "another model (`facelake weights list`), say `commercial = true` in a card of "
                "your own, or allow it with --licences any"
            )
        return tuple(self._path(card, file, progress) for file in card.files)

    def revision(self, card: ModelCard) -> str:
        """Return `name@` and 12 hex digits that identify the weights; fetches them if need be."""
        digests = [sha256(path) for path in self.paths(card)]
        whole = digests[0]
        if len(digests) > 1:
            whole = hashlib.sha256("".join(digests).encode()).hexdigest()
        return f"{card.name}@{whole[:12]}"

    def state(self, card: ModelCard) -> str:
        """Return "bundled", "local" (a user's card), "cached" or "missing"; checks no checksum."""
        if not all(self.location(card, file).is_file() for file in card.files):
            return "missing"
        return "bundled" if card.bundled else "local" if card.folder else "cached"

    def location(self, card: ModelCard, file: ModelFile) -> Path:
        """Return where a file lies, or will lie once fetched."""
        if card.folder is not None:
            return card.folder / file.name
        return (DATA if card.bundled else self.directory) / file.name

    def verify(self, card: ModelCard) -> list[Check]:
        """Hash the files that are there, afresh; changes and fetches nothing."""
        checks = []
        for file in card.files:
            path = self.location(card, file)
            actual = sha256(path, fresh=True) if path.is_file() else None
            checks.append(Check(card.name, path, file.sha256 or _read_pin(path), actual))
        return checks

    def _path(self, card: ModelCard, file: ModelFile, progress: Progress | None) -> Path:
        path = self.location(card, file)
        if card.bundled or card.folder is not None:
            self._check_fixed(card, file, path)
            return path
        expected = file.sha256 or _read_pin(path)
        if path.is_file() and expected is not None and sha256(path) == expected:
            return path  # no lock: a shared cache may be read-only
        with self._lock(path):
            if path.is_file():  # another process was faster, or the file is bad or not pinned yet
                self._check_or_remove(file, path, path, f"The cached {path}")
            else:
                self._download(file, path, progress)
                _pin(file, path)
        return path

    def trust(self, card: ModelCard) -> None:
        """Pin files that nobody published a checksum of, once they have proved to be a model.

        A file that was put into the cache by hand may be anything until it was loaded.
        """
        for file in card.files:
            path = self.location(card, file)
            if not (card.bundled or card.folder or file.sha256 or _read_pin(path)):
                with self._lock(path):
                    _pin(file, path)

    def _check_fixed(self, card: ModelCard, file: ModelFile, path: Path) -> None:
        """Check a file that Facelake did not put there, so does not remove or replace."""
        hint = "reinstall facelake" if card.bundled else "check the card of the model"
        if not path.is_file():
            raise WeightsError(f"{path}, the weights of {card.name}, is missing; {hint}")
        if file.sha256 is not None and (actual := sha256(path)) != file.sha256:
            raise WeightsError(
                f"{path} has SHA-256 {actual}, not {file.sha256}: damaged or replaced; {hint}"
            )

    def _download(self, file: ModelFile, path: Path, progress: Progress | None) -> None:
        url = self._url(file, path)
        part = path.with_name(path.name + ".part")
        logger.info("Fetching %s to %s", url, path)
        trusted = (file.sha256 or _read_pin(path)) is not None
        try:
            fetch(url, part, size=file.size, trusted=trusted, progress=progress)
        except WeightsError as error:
            raise WeightsError(f"{error}\n{_by_hand(file, path)}") from error
        self._check_or_remove(file, part, path, f"The file from {url}")
        os.replace(part, path)
        part.with_name(part.name + ".etag").unlink(missing_ok=True)

    def _check_or_remove(self, file: ModelFile, fetched: Path, path: Path, what: str) -> None:
        """Raise if `found` is not the weights, and move it aside: the next try starts clean."""
        pin = None if file.sha256 else _read_pin(path)
        expected = file.sha256 or pin
        if expected is None or (actual := sha256(fetched)) == expected:
            return
        aside = path.with_name(path.name + ".rejected")
        os.replace(fetched, aside)
        origin = "the card of the model"
        if pin:
            origin = f"{_pin_path(path)}, pinned on first use; remove that to trust the new file"
        raise WeightsError(
            f"{what} has the wrong checksum.\n  expected SHA-256 {expected} (from {origin})\n"
            f"  actual   SHA-256 {actual}\nIt is now {aside}; the next call fetches it again."
        )

    def _url(self, file: ModelFile, path: Path) -> str:
        if self.base_url is not None:
            if "://" in self.base_url:
                return f"{self.base_url.rstrip('/')}/{file.name}"
            return str(Path(self.base_url).expanduser().absolute() / file.name)
        if file.url is None:
            raise WeightsError(f"No URL is known for {file.name}.\n{_by_hand(file, path)}")
        return file.url

    @contextlib.contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_name(path.name + ".lock"), timeout=LOCK_TIMEOUT_S)
            lock.acquire()
        except Timeout as error:
            raise WeightsError(
                f"Another process has held {error.lock_file} for an hour; is a download stuck?"
            ) from error
        except OSError as error:
            raise WeightsError(
                f"Cannot write the weights folder {self.directory}: {error}; "
                "set FACELAKE_HOME or --weights-dir to a folder that can be written"
            ) from error
        try:
            yield
        finally:
            lock.release()


def default_directory() -> Path:
    """Return the cache folder that the environment asks for."""
    if home := os.environ.get("FACELAKE_HOME"):
        return Path(home) / "weights"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "facelake" / "weights"


def sha256(path: Path, fresh: bool = False) -> str:
    """Return the hex SHA-256 of a file; once a process while size and mtime stay, or `fresh`."""
    stat = path.stat()
    key = (stat.st_size, stat.st_mtime_ns)
    with _digests_lock:
        cached = _digests.get(path)
        if not fresh and cached is not None and cached[:2] == key:
            return cached[2]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        _digests[path] = (*key, digest)
        return digest


def _pin_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _read_pin(path: Path) -> str | None:
    try:
        words = _pin_path(path).read_text("utf-8").split()
    except FileNotFoundError:
        return None
    return words[0] if words else None


def _pin(file: ModelFile, path: Path) -> None:
    """Write the checksum, in the format of sha256sum, where the card has none."""
    if file.sha256 is None and _read_pin(path) is None:
        pin, draft = _pin_path(path), path.with_name(path.name + ".sha256.new")
        draft.write_text(f"{sha256(path)}  {path.name}\n", "utf-8")
        os.replace(draft, pin)


def _by_hand(file: ModelFile, path: Path) -> str:
    size = f"{file.size:,} bytes" if file.size else "size not published"
    return (
        f"Without internet, put the file {file.name} ({size}, SHA-256 "
        f"{file.sha256 or 'not published'}) at\n  {path}\n"
        "or name a mirror or folder that holds it by --weights-url or FACELAKE_WEIGHTS_URL. "
        "`--embedder sface` needs no download."
    )
