"""Pictures set aside in a temporary file, so that a report of any size takes little memory."""

import tempfile


class Spool:
    """A temporary file of pictures by number. Use as a context manager."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="facelake-report-")  # noqa: SIM115 closed by us
        self._ends = [0]

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, picture: bytes) -> int:
        """Set a picture aside and return its number."""
        self._file.seek(self._ends[-1])
        self._file.write(picture)
        self._ends.append(self._ends[-1] + len(picture))
        return len(self._ends) - 2

    def get(self, number: int) -> bytes:
        """Return a picture."""
        start, end = self._ends[number], self._ends[number + 1]
        self._file.seek(start)
        return self._file.read(end - start)
