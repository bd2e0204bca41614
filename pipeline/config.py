"""What the main job can be told; `pipeline.options` says how a field is an option."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pipeline.errors import ErrorCode
from pipeline.options import Option, check_bounds, require

DEFAULT_EMBEDDER = "facenet-vggface2"
# Images in a part: small enough that a crash costs a minute, and that progress is seen; large
# enough that a billion images make a million files, not a billion.
MIN_PART_IMAGES, MAX_PART_IMAGES = 64, 2048

# A day: more is a slip, or no limit by another name.
MAX_TIMEOUT_S = 86_400
# A 12-megapixel photo takes about 100 MiB.
MIN_MEMORY_BYTES = 64 * 2**20
# Crops of faces come from what is decoded: at 4,000 pixels a face that takes 1 % of the width has
# 40, the least that clustering uses.
DECODE_SIDE = 4000
# 1 % of the width of a 12-megapixel photo is searched for, at a tenth of what the whole costs.
DETECTION_SIDE = 2048
MIN_SIDE = 12  # what P-net sees

Selection = Literal["all", "largest", "most-probable", "central"]
OneFace = Literal["largest", "most-probable", "central"]
Device = Literal["auto", "cpu", "cuda"]
Views = Literal["one", "flip"]
Licences = Literal["any", "commercial"]


@dataclass(frozen=True, slots=True)
class DetectConfig:
    """How faces are searched.

    A photo whose longer side exceeds `detection_side` is searched as if it were reduced to it, a
    panorama as if to the pixels of a 4:3 photo of that side. Boxes are in the photo's own pixels,
    and what is looked at is cut from them.
    `batch_pixels` of all images are searched at once, which bounds memory at 20 bytes each.
    """

    # fmt: off
    min_face_px: Annotated[float, Option(
        "smallest face searched, in pixels of the photo as it is searched",
        least=1)] = 20
    thresholds: Annotated[tuple[float, float, float], Option(
        "lowest probability in each of MTCNN's networks", unit=("P", "R",
        "O"))] = (0.6, 0.7, 0.7)
    factor: Annotated[float, Option("ratio between levels of the image pyramid",
        name="pyramid_factor", above=0, below=1)] = 0.709
    selection: Annotated[Selection, Option(
        "which faces of a photo are kept; central weighs size against the distance from the "
        "centre", name="select")] = "all"
    detection_side: Annotated[int | None, Option(
        "search larger photos as if reduced to this longer side, panoramas to as many pixels, so "
        "for faces that take more of them; 0: as they are",
        unit="PX", least=MIN_SIDE, none=0)] = DETECTION_SIDE
    turns: Annotated[bool, Option(
        "pictures that lie on their side or upside down are turned, where faces tell it",
        off="search pictures only as they are stored")] = True
    batch_pixels: int = 16_000_000
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)
        require(
            len(self.thresholds) == 3 and all(0 <= t <= 1 for t in self.thresholds),
            f"thresholds are {self.thresholds}; give three numbers from 0 to 1",
        )
        require(self.batch_pixels > 0, f"batch_pixels is {self.batch_pixels}; it must be positive")


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """How shards are read."""

    # fmt: off
    max_bytes: Annotated[int, Option("larger files get the error too_large", unit="BYTES",
        least=1)] = 512 * 2**20
    image_column: Annotated[str, Option("column of Parquet shards that holds the images",
        unit="COLUMN")] = "image"
    key_column: Annotated[str | None, Option("column of Parquet shards that names them",
        unit="COLUMN", unset="row numbers")] = None
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """What one image may cost."""

    # fmt: off
    max_pixels: Annotated[int, Option(
        "larger images get the error too_large, before memory is taken", unit="PIXELS",
        least=1)] = 200_000_000
    timeout_s: Annotated[float, Option(
        "images that take longer to decode get the error timeout", name="image_timeout",
        unit="SECONDS", above=0, most=MAX_TIMEOUT_S)] = 60.0
    memory_bytes: Annotated[int, Option(
        "images that need more to decode get the error out_of_memory",
        name="image_memory", unit="BYTES", least=MIN_MEMORY_BYTES,
        why="with less, hardly any photo can be decoded")] = 4 * 2**30
    side: Annotated[int | None, Option(
        "decode JPEGs at a half, a quarter or an eighth of their size while the longer side "
        "keeps this many pixels, 0: whole; boxes are of the whole picture", name="decode_side",
        unit="PX", least=MIN_SIDE, none=0)] = DECODE_SIDE
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How many workers each stage gets; None: chosen from the cluster."""

    # fmt: off
    detect_actors: Annotated[int | None, Option("processes that detect", unit="N", least=1)] = None
    embed_actors: Annotated[int | None, Option("processes that embed", unit="N", least=1)] = None
    detect_gpus: Annotated[float | None, Option("GPUs of each detect actor, fractions allowed",
        unit="X", least=0)] = None
    embed_gpus: Annotated[float | None, Option("GPUs of each embed actor, fractions allowed",
        unit="X", least=0)] = None
    detect_batch: Annotated[int, Option("images that one call of the detector gets", unit="N",
        least=1)] = 32
    embed_batch: Annotated[int, Option("images whose faces one call of the embedder gets",
        unit="N", least=1)] = 64
    part_images: Annotated[int | None, Option("images in a part of the lake", unit="N",
        least=1)] = None
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Everything that the main job is told.

    `inputs` are folders, globs, images, shards and lists (see `sources.plan`), `output` is the
    lake, `storage_options` are for fsspec.
    """

    # fmt: off
    inputs: tuple[str, ...]
    output: str
    detector: Annotated[str, Option("name of the detector", group="models")] = "mtcnn"
    embedder: Annotated[str, Option(
        "name (see `facelake weights list`), or path of an ONNX model with its .toml card; "
        "sface needs no download", group="models")] = DEFAULT_EMBEDDER
    views: Annotated[Views, Option(
        "what a face is embedded from: the picture, or flip, the mean with its mirror image; the "
        "lake keeps to it", group="models")] = "one"
    device: Annotated[Device, Option("where models run", group="models")] = "auto"
    precision: Annotated[Literal["auto", "float32", "bfloat16"], Option(
        "of the embedder; auto takes bfloat16 where the machine has it and real faces keep "
        "their vectors, bfloat16 whether they do or not", group="models")] = "auto"
    weights_dir: Annotated[str | None, Option("where weights are cached", unit="DIR",
        group="models")] = None
    weights_url: Annotated[str | None, Option("folder or URL to fetch weights from", unit="URL",
        group="models")] = None
    licences: Annotated[Licences | None, Option(
        "of the weights that may be used: commercial refuses those whose card does not say that "
        "their licence allows it", unset="FACELAKE_LICENCES, else any", group="models")] = None
    detect: Annotated[DetectConfig, "faces"] = field(default_factory=DetectConfig)
    thumbnails: Annotated[bool, Option("small pictures of faces are kept",
        off="keep no small pictures of faces", group="faces")] = True
    read: Annotated[ReadConfig, "reading"] = field(default_factory=ReadConfig)
    decode: Annotated[DecodeConfig, "reading"] = field(default_factory=DecodeConfig)
    retry_errors: Annotated[tuple[str, ...], Option(
        "read images again that had these errors: codes joined by commas, or all; those with "
        "unreadable are always read again", unit="CODES", group="reading")] = ()
    pools: Annotated[PoolConfig,
        "workers (chosen from the cluster when not given)"] = field(default_factory=PoolConfig)
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    # fmt: on

    def __post_init__(self) -> None:
        """Check what can be checked without looking at files."""
        require(bool(self.inputs), "no input; name a folder, a glob, shards or a list")
        # An empty one would be the current folder: more likely a shell variable that is not set.
        require(all(self.inputs), "an input is empty; write . for the current folder")
        require(bool(self.output), "no output; name the lake with --output")
        check_bounds(self)
        codes = [code.value for code in ErrorCode]
        unknown = sorted(set(self.retry_errors) - {*codes, "all"})
        require(
            not unknown,
            f"--retry-errors {', '.join(unknown)}: there is no such code; choose from "
            f"{', '.join(codes)}, or all",
        )

    def retried_codes(self) -> frozenset[str]:
        """Return the error codes whose images are read again, `unreadable` among them."""
        all_codes = {code.value for code in ErrorCode}
        chosen = all_codes if "all" in self.retry_errors else set(self.retry_errors)
        return frozenset({ErrorCode.UNREADABLE.value, *chosen})
