"""The last decision about copies: what was reviewed is what a plan and a move act on."""

from dataclasses import dataclass, fields
from typing import Any

from pipeline.dedupe.algorithms.settings import DedupeConfig
from pipeline.dedupe.apart import said_of_pictures
from pipeline.dedupe.duplicates import Duplicates
from pipeline.errors import ConfigError
from pipeline.options import settings
from pipeline.people.store import People


@dataclass(frozen=True)
class Decision:
    """Which copies may go, as one run decided it.

    Attributes:
        run_id: of the run.
        decided_at: UTC, ISO 8601.
        config: what counted as a copy, and what was kept.
    """

    run_id: str
    decided_at: str
    config: DedupeConfig

    def __str__(self) -> str:
        """Return when it was made and with which options, as a command has them."""
        words = []
        for one in settings(DedupeConfig):
            value = getattr(self.config, one.path[0])
            flag = f"--{one.name.replace('_', '-')}"
            if value == one.default:
                continue
            if isinstance(value, bool):
                words.append(flag if value else flag.replace("--", "--no-", 1))
            elif one.option.repeated:
                words += [f"{flag} {each}" for each in value]
            else:
                words.append(f"{flag} {','.join(value) if isinstance(value, tuple) else value}")
        options = " ".join(words) or "default options"
        return f"the decision of {self.decided_at} ({self.run_id}), {options}"


def last_decision(duplicates: Duplicates) -> Decision | None:
    """Return the last decision, None when nobody has searched yet, or an older version did.

    What an older version called copies was not confirmed by a second look.
    """
    about = duplicates.current()
    if about is None or "confirm" not in about.get("config", {}):
        return None
    known = {one.name for one in fields(DedupeConfig)}
    values = {name: _plain(value) for name, value in about["config"].items() if name in known}
    return Decision(about["run_id"], about["decided_at"], DedupeConfig(**values))


def current_decision(duplicates: Duplicates) -> Decision:
    """Return the last decision, if the lake is still the one that it was made about.

    Raises:
        ConfigError: nobody has decided yet, or the lake has changed since.
    """
    lake = duplicates.lake
    decision = last_decision(duplicates)
    if decision is None:
        raise ConfigError(
            f"There is no decision about copies in {lake.folder.url} yet; run facelake dedupe "
            f"{lake.folder.url} and look at what it finds"
        )
    about = duplicates.current() or {}
    sizes = lake.folder.child("images").files()
    parts = {name: sizes[name] for name in lake.parts()}
    said = [row.constraint_id for row in said_of_pictures(People(lake))]
    if about.get("parts") != parts or about.get("told_apart", []) != said:
        raise ConfigError(
            f"The lake {lake.folder.url} has changed since {decision}; run facelake dedupe "
            f"{lake.folder.url} again and look at what it finds"
        )
    return decision


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
