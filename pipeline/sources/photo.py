"""Reads and decodes one photo that somebody names, for a search or a comparison."""

from collections.abc import Mapping
from typing import Any

from pipeline.config import DecodeConfig
from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.record import Decoded, Fingerprint
from pipeline.imaging.sandbox import Sandbox
from pipeline.storage.folder import split_file, visible


def decode_photo(path: str, options: Mapping[str, Any]) -> tuple[bytes, Decoded, Fingerprint]:
    """Return a photo's bytes, and what `index` makes of them by default.

    Raises:
        ConfigError: it cannot be decoded.
        StorageError: it cannot be read.
    """
    folder, name = split_file(path, options if "://" in path else {})
    data = folder.read(name)
    try:
        with Sandbox(DecodeConfig()) as sandbox:
            return data, *sandbox.decode(data)
    except ImageError as error:
        raise ConfigError(f"{visible(path)} cannot be used: {error}") from error
