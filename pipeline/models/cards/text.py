"""Writes a calibration into the text of a card, the rest of which stays as it is."""

import json
import re
import tomllib

from pipeline.errors import ConfigError
from pipeline.models.cards.calibration import Calibration


def calibration_text(calibration: Calibration) -> str:
    """Return the table [calibration] in TOML."""
    lines = ["[calibration]"]
    for key, value in calibration.fields().items():
        if key == "knots":
            pairs = [f"  [{x:.9g}, {p:.9g}]," for x, p in value]
            lines += ["knots = [", *pairs, "]"]
        elif isinstance(value, str):
            lines.append(f"{key} = {json.dumps(value)}")  # JSON's escapes are TOML's
        else:
            lines.append(f"{key} = {value if isinstance(value, int) else format(value, '.6g')}")
    return "\n".join(lines) + "\n"


def with_calibration(text: str, calibration: Calibration) -> str:
    """Return a card with its table [calibration] replaced, or with one at its end.

    Raises:
        ConfigError: the text is no TOML, or has a calibration in another form than a table.
    """
    without = re.sub(r"(?ms)^\[calibration\].*?(?=^\[(?!calibration)|\Z)", "", text)
    made = without.rstrip("\n") + "\n\n" * bool(without.strip()) + calibration_text(calibration)
    try:
        before, after = tomllib.loads(text), tomllib.loads(made)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the card cannot take a [calibration] table: {error}") from error
    if before | {"calibration": None} != after | {"calibration": None}:
        raise ConfigError("the card's [calibration] cannot be replaced; remove it by hand")
    return made
