"""The settings of a search for copies."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.config import Licences
from pipeline.imaging.phash import MATCH_BITS
from pipeline.options import Option, check_bounds, require

# Rules for what to keep, in words; `keeper.measures` has what each of them compares.
RULES = {
    "whole": "no rows of the picture lost",
    "more": "further pages or frames, deeper colours",
    "original": "the camera's own data is still in the file",
    "bars": "no bars around it",
    "pixels": "more pixels",
    "compression": "less compressed",
    "sharpness": "sharper",
    "older": "taken or saved earlier",
    "smaller": "smaller file",
    "path": "shorter path",
}
# More bits than this, and strangers come close by chance (128 bits differ on average, deviation 8).
MOST_BITS = 63


COPIES, KEEP = "what counts as a copy", "what is kept"


@dataclass(frozen=True, slots=True)
class DedupeConfig:
    """What counts as a copy, and which one is kept."""

    # fmt: off
    radius: Annotated[int, Option("bits of 256 by which the hashes of copies may differ",
        "BITS", least=0, most=MOST_BITS,
        why="beyond, pictures of different things are as close", group=COPIES)] = MATCH_BITS
    mirrored: Annotated[bool, Option("also copies with left and right exchanged",
        group=COPIES)] = (False)
    rotated: Annotated[bool, Option("also copies turned by 90, 180 or 270 degrees",
        group=COPIES)] = False
    confirm: Annotated[bool, Option(
        "the originals of near copies are read again and compared",
        off="call pictures copies by their hashes alone, without a second look at the originals",
        group=COPIES)] = True
    crops: Annotated[bool, Option(
        "also parts of pictures, by a face that both show in the same geometry",
        group=COPIES)] = False
    model: Annotated[str | None, Option(
        "also pictures that are alike by an image embedding, and show the same at a second look: "
        "name, or path of an ONNX file with a card; the originals are read once", "MODEL",
        name="embedding", group=COPIES)] = None
    model_cosine: Annotated[float | None, Option(
        "from which pictures are looked at for it", "COSINE", name="embedding_cosine", above=0,
        below=1, unset="measured on this lake, with the threshold of the model's card",
        group=COPIES)] = None
    licences: Annotated[Licences | None, Option(
        "of its weights: commercial refuses those whose card does not say that their licence "
        "allows it", unset="FACELAKE_LICENCES, else any", group=COPIES)] = None
    burst_s: Annotated[float, Option(
        "shots of one camera at most this far apart are a burst; 0: no bursts, and other "
        "times of one camera do not keep pictures from being copies", "S", name="burst_seconds",
        least=0, group=COPIES)] = 2.0
    prefer: Annotated[tuple[str, ...], Option("what decides, first the most important: " +
        "; ".join(f"{rule}: {words}" for rule, words in RULES.items()), "RULES",
        group=KEEP)] = tuple(RULES)
    reference: Annotated[tuple[str, ...], Option(
        "folder, archive or URL whose pictures are always kept; may be repeated",
        "FOLDER", repeated=True, group=KEEP)] = ()
    max_group: Annotated[int, Option(
        "pictures of one group, the nearest to the kept one; the rest make groups of their own",
        "N", least=2, group=KEEP)] = 1000
    full: Annotated[bool, Option("search all again, not only what is new")] = False
    # fmt: on

    def __post_init__(self) -> None:
        """Check ranges."""
        check_bounds(self)
        unknown = [rule for rule in self.prefer if rule not in RULES]
        require(
            bool(self.prefer) and not unknown and len(set(self.prefer)) == len(self.prefer),
            f"prefer is {','.join(self.prefer)}; choose from {', '.join(RULES)}, each once",
        )
        require(all(self.reference), "a reference folder is empty; write . for the current one")
