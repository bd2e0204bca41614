"""Publishes pages, the first page last, and removes pages of an earlier report."""

from concurrent.futures import FIRST_COMPLETED as ANY
from concurrent.futures import Future, ThreadPoolExecutor, wait

from pipeline.storage.folder import Folder, is_local
from pipeline.web.report.names import PAGE

INDEX = "index.html"
# It stands near the top of each page; only files that have it are ever removed.
GENERATOR = "facelake report"
MARK = f'<meta name="generator" content="{GENERATOR}">'.encode()
HEAD = 2_048
# Pages written at once to object storage; each is up to some megabytes.
WRITERS = 16


class Pages:
    """Writes the pages of a report into a folder; use as a context manager."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.names: set[str] = set()
        self.bytes = 0
        self._pool = ThreadPoolExecutor(2 if is_local(folder.fs) else WRITERS)
        self._pending: set[Future[None]] = set()

    def __enter__(self) -> "Pages":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, name: str, text: str) -> None:
        """Publish a page in the background.

        Raises:
            StorageError: it, or one before it, cannot be written.
        """
        if len(self._pending) >= 2 * WRITERS:
            done, self._pending = wait(self._pending, return_when=ANY)
            for one in done:
                one.result()
        data = self._count(name, text)
        self._pending.add(self._pool.submit(self.folder.publish, name, data))

    def finish(self, index: str) -> int:
        """Publish the first page after all others; return how many old pages were removed."""
        for one in self._pending:
            one.result()
        self._pending.clear()
        self.folder.publish(INDEX, self._count(INDEX, index))
        old = [n for n in self.folder.files() if PAGE.fullmatch(n) and n not in self.names]
        removed = [name for name in old if self._is_report_page(name)]
        for name in removed:
            self.folder.remove(name)
        return len(removed)

    def _count(self, name: str, text: str) -> bytes:
        data = text.encode("utf-8", errors="replace")
        self.names.add(name)
        self.bytes += len(data)
        return data

    def _is_report_page(self, name: str) -> bool:
        with self.folder.open(name) as file:
            return MARK in file.read(HEAD)
