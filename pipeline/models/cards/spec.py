"""Reads the values of a TOML table; its errors name the file, the key and what is allowed."""

import re
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError

MOST_BYTES = 1 << 20
# Keys of keys of keys: `tomllib` takes memory as the square of their number, 1.6 GB for 20,000.
_KEYS_OF_KEYS = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){16}"""
)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ConfigError(f"{path} has more than {MOST_BYTES:,} bytes, which no card has")
        text = data.decode()
        if _KEYS_OF_KEYS.search(text):
            raise ConfigError(f"{path} has keys of keys of keys, which no card has")
        return tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {path}: {error}") from error
    # ValueError: a number of thousands of digits; RecursionError: lists in lists in lists
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


class Spec:
    """One table of a TOML file; every getter takes its key, `done` rejects what is left.

    Getters raise ConfigError where the value is missing without a default, or not allowed.
    """

    def __init__(self, origin: Path, values: dict[str, Any], where: str = "") -> None:
        self.origin = origin
        self.values = dict(values)
        self.where = f"{where}." if where else ""
        self.keys: list[str] = []

    def fail(self, key: str, problem: str) -> ConfigError:
        """Return the error for a key, for the caller to raise."""
        return ConfigError(f"{self.origin}: `{self.where}{key}` {problem}")

    def take(self, key: str, default: Any = None) -> Any:
        """Return the raw value; None without a value and a default."""
        self.keys.append(key)
        return self.values.pop(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string that is not empty, unless the default is."""
        value = self.take(key, default)
        if value is None:
            raise self.fail(key, "is missing; it is a text")
        if not isinstance(value, str) or (not value.strip() and value != default):
            raise self.fail(key, f"is {value!r}; it must be a text")
        return value.strip()

    def choice(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        """Return one of the allowed strings."""
        value = self.take(key, default)
        options = ", ".join(f'"{option}"' for option in allowed)
        if value is None:
            raise self.fail(key, f"is missing; it is one of {options}")
        if value not in allowed:
            raise self.fail(key, f"is {value!r}; it must be one of {options}")
        return str(value)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """Return an integer in [low, high]."""
        value = self.take(key, default)
        if value is None:
            raise self.fail(key, f"is missing; it is an integer from {low} to {high}")
        # bool is an int to Python, but `input_size = true` is a mistake
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(key, f"is {value!r}; it must be an integer from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """Return a number in [low, high]."""
        value = self.take(key, default)
        if value is None:
            raise self.fail(key, f"is missing; it is a number from {low:g} to {high:g}")
        if value is default:
            return float(default or 0)
        if not _is_number(value) or not low <= value <= high:
            raise self.fail(key, f"is {value!r}; it must be a number from {low:g} to {high:g}")
        return float(value)

    def rising(self, key: str) -> tuple[tuple[float, float], ...]:
        """Return a list of two or more pairs [x, p], x rising, p inside (0, 1) and not falling."""
        value = self.take(key)
        pairs = value if isinstance(value, list) else []
        good = len(pairs) > 1 and all(
            isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))
            for pair in pairs
        )
        steps = list(pairwise(pairs)) if good else []
        if (
            not good
            or any(after[0] <= before[0] or after[1] < before[1] for before, after in steps)
            or not 0 < pairs[0][1] <= pairs[-1][1] < 1
        ):
            raise self.fail(
                key,
                "must be a list of two or more pairs [similarity, probability], similarities "
                "rising, probabilities between 0 and 1 and not falling",
            )
        return tuple((float(x), float(p)) for x, p in pairs)

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, f"is {value!r}; it must be true or false")
        return value

    def channels(self, key: str, positive: bool = False) -> tuple[float, float, float]:
        """Return a number for each channel, from one number or a list of three."""
        value = self.take(key)
        what = "one number, or a list of three" + (", all above 0" if positive else "")
        if value is None:
            raise self.fail(key, f"is missing; it is {what}")
        numbers = value if isinstance(value, list) else [value] * 3
        if len(numbers) != 3 or not all(_is_number(n) and (n > 0 or not positive) for n in numbers):
            raise self.fail(key, f"is {value!r}; it must be {what}")
        return float(numbers[0]), float(numbers[1]), float(numbers[2])

    def cosines(self, key: str) -> dict[str, float]:
        """Return a table of numbers in [-1, 1]; empty by default."""
        value = self.take(key, {})
        if not isinstance(value, dict):
            raise self.fail(key, f"is {value!r}; it must be a table of numbers from -1 to 1")
        for name, number in value.items():
            if not _is_number(number) or not -1 <= number <= 1:
                raise self.fail(f"{key}.{name}", f"is {number!r}; it must be from -1 to 1")
        return {name: float(number) for name, number in value.items()}

    def done(self) -> None:
        """Reject keys that nothing took: a misspelled key must not pass for a default."""
        for key in self.values:
            raise self.fail(key, f"is not a key; the keys are {', '.join(sorted(self.keys))}")


def _is_number(value: object) -> bool:
    # abs(inf) and nan fail the comparison
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12
