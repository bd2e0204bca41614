"""The exceptions that Facelake raises, and the codes that bad images get.

A broken environment is an exception; a bad image is data: a row with a code.

    FacelakeError             exit code 1
    ├── ConfigError           2   an option, input or lake that cannot be used as asked
    │   ├── NoImagesError     3   nothing to read under the inputs
    │   ├── NoFaceError       2   a photo that is to be compared has no face
    │   ├── LakeMismatchError 4   the lake was made by other models
    │   └── LakeBusyError     9   another run is writing to the lake
    ├── StorageError          5   storage unreachable, refused, full, or damaged
    ├── WeightsError          6   weights missing, wrong checksum, wrong shapes
    ├── ResourceError         7   the cluster lacks what was asked for
    ├── TrainingError         11  a training that cannot go on: the loss is not finite, or worse
    └── ImageError            -   one image; becomes its row's `error`, never leaves a stage

A run that finished, but found a shard that is cut or damaged, or an archive that it cannot open,
ends with exit code 8; one that was interrupted with 130; a lake in which `facelake check` finds
something wrong with 10, as `facelake doctor` does where something necessary is missing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

EXIT_DAMAGED = 8
EXIT_UNSOUND = 10
EXIT_INTERRUPTED = 130


class FacelakeError(Exception):
    """Anything that Facelake refuses or fails to do; the message says what to do next."""

    exit_code = 1


class ConfigError(FacelakeError):
    """An option, an input or a lake cannot be used as asked."""

    exit_code = 2


@contextmanager
def needs_extra(name: str, what_needs: str, without: str = "") -> Iterator[None]:
    """Say what to install where an import fails of a package that an extra of Facelake brings.

    Args:
        name: of the extra.
        what_needs: begins the message, which goes on with the name of the package.
        without: what can be done without it.

    Raises:
        ConfigError: the package is not installed, or does not work.
    """
    try:
        yield
    except ImportError as error:
        more = f"; {without}" if without else ""
        raise ConfigError(
            f"{what_needs} {error.name or 'more'} ({error}): pip install 'facelake[{name}]'{more}"
        ) from error


class NoImagesError(ConfigError):
    """There is no image under the inputs."""

    exit_code = 3


class NoFaceError(ConfigError):
    """A photo that is to be compared has no face."""


class LakeMismatchError(ConfigError):
    """The lake holds vectors of another detector or embedder."""

    exit_code = 4


class LakeBusyError(ConfigError):
    """Another run is writing to the lake."""

    exit_code = 9


class StorageError(FacelakeError):
    """A path cannot be listed, read or written."""

    exit_code = 5


class WeightsError(FacelakeError):
    """Model weights are missing, damaged or of the wrong shape."""

    exit_code = 6


class ResourceError(FacelakeError):
    """The Ray cluster lacks the CPUs, GPUs or memory that were asked for."""

    exit_code = 7


class TrainingError(FacelakeError):
    """A training cannot go on as it is set."""

    exit_code = 11


class ErrorCode(StrEnum):
    """Why an image could not be used: the closed list of `images.error`."""

    EMPTY = "empty"  # zero bytes
    UNSUPPORTED_FORMAT = "unsupported_format"  # not an image format that we read
    TRUNCATED = "truncated"  # the data ends before the image does
    CORRUPT = "corrupt"  # the decoder rejects the data
    TOO_LARGE = "too_large"  # more pixels than --max-pixels, found before decoding
    UNREADABLE = "unreadable"  # storage did not give the bytes; the next run tries again
    UNSAFE_MEMBER = (
        "unsafe_member"  # archive member that is a link, a device, or leaves its archive
    )
    ENCRYPTED = "encrypted"  # archive member behind a password
    OUT_OF_MEMORY = "out_of_memory"  # decoding needed more memory than there was
    TIMEOUT = "timeout"  # decoding took too long
    CRASHED = "crashed"  # decoding ended its process


class ImageError(FacelakeError):
    """One image cannot be used.

    Attributes:
        code: one of `ErrorCode`, the row's `error`.
        detail: text for people, the row's `error_detail`.
    """

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code.value}: {self.detail}"
