"""Rows of files that people write, CSV or Parquet, as text."""

import csv
import io

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.storage.folder import Folder, split_file, visible


def read_rows(file: str) -> list[dict[str, str]]:
    """Return the rows of a CSV or Parquet file.

    Raises:
        ConfigError: it is neither, or has no rows.
    """
    content = read_file(file)
    rows = csv_rows(file, content) if isinstance(content, str) else content
    if not rows:
        raise ConfigError(f"{visible(file)} has no rows; it needs a header, and then lines")
    return rows


def read_file(file: str) -> list[dict[str, str]] | str:
    """Return the rows of a Parquet file, or the text of another.

    Raises:
        ConfigError: it is neither Parquet nor UTF-8.
    """
    folder, name = split_file(file)
    data = folder.read(name)
    if data[:4] == b"PAR1":
        return _parquet_rows(folder, name, data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{visible(file)} is neither Parquet nor UTF-8 text; save it as UTF-8 CSV"
        ) from error


def csv_rows(file: str, text: str) -> list[dict[str, str]]:
    """Return the rows of CSV with a header; what is missing in a line is empty.

    Raises:
        ConfigError: quotes do not close.
    """
    reader = csv.DictReader(io.StringIO(text), restval="", restkey="")
    try:
        return [{key: str(value) for key, value in row.items() if key} for row in reader]
    except csv.Error as error:
        raise ConfigError(f"{visible(file)} is no CSV ({error}); check its quotes") from error


def need_columns(file: str, rows: list[dict[str, str]], *wanted: str) -> None:
    """Raise ConfigError unless the rows have the columns."""
    if missing := [name for name in wanted if name not in rows[0]]:
        raise ConfigError(
            f"{visible(file)} has no column {', '.join(missing)}; its columns are "
            f"{', '.join(rows[0])}"
        )


def _parquet_rows(folder: Folder, name: str, data: bytes) -> list[dict[str, str]]:
    try:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{folder.url}/{name} is damaged ({error}); make it again") from error
    return [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows
    ]
