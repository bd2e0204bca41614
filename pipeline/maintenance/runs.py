"""The runs of a lake, by the manifests that they left."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import ConfigError
from pipeline.lake.manifest import manifests
from pipeline.lake.store import LakeStore
from pipeline.storage.folder import visible

# The last run of all; `last-cluster` is the last one of that command.
LAST = "last"
STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)")
# What no two runs have in common.
OF_ONE_RUN = ("run_id", "started", "finished", "decided_at")


def runs(lake: LakeStore) -> list[dict[str, Any]]:
    """Return the manifests of all runs, the last first, each with `command` and `started`."""
    every = [_completed(about) for about in manifests(lake)]
    return sorted(every, key=lambda about: (about["started"], about["run_id"]), reverse=True)


def _completed(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with what those of earlier versions lack, or have as the end of the run."""
    run_id = about["run_id"]
    command = re.sub(r"-?\d{8}T\d{6}-\w+$", "", run_id) or "index"
    stamp = STAMP.search(run_id)
    begun = "{}-{}-{}T{}:{}:{}+00:00".format(*stamp.groups()) if stamp else ""
    if begun:
        about = {**about, "started": begun}
    return {"command": command, "started": begun, **about}


def find_run(lake: LakeStore, name: str) -> dict[str, Any]:
    """Return the manifest of a run.

    Args:
        lake: whose run it is.
        name: its id, how the id of just one begins, `last`, or `last-` and a command.

    Raises:
        ConfigError: there is no such run, or several begin like that.
    """
    every = runs(lake)
    if name == LAST or name.startswith(f"{LAST}-"):
        command = name[len(LAST) + 1 :]
        found = [about for about in every if command in ("", about["command"])][:1]
    else:
        same = [about for about in every if about["run_id"] == name]
        found = same or [about for about in every if about["run_id"].startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} runs begin with" if found else "There is no run"
    url = lake.folder.url
    raise ConfigError(f"{what} {visible(name)} in {url}; `facelake runs {url}` lists all")


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return in what two manifests differ: dotted names, and both values, None for missing ones."""
    first, second = dict(flat(one)), dict(flat(other))
    return {
        name: (first.get(name), second.get(name))
        for name in [*first, *(name for name in second if name not in first)]
        if first.get(name) != second.get(name) and name not in OF_ONE_RUN
    }


def flat(about: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the facts of a manifest under dotted names; lists stay whole."""
    for key, value in about.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
