"""Which packages are installed, by what they say of themselves: none is imported."""

import platform
from importlib import metadata

from packaging.requirements import Requirement

from pipeline import __version__
from pipeline.lake.manifest import version_of
from pipeline.maintenance.doctor.item import Item

NAME, GROUP = "facelake", "packages"
# Extras that people choose, and what for.
EXTRAS = {
    "review": "review and serve: pages and an API in the browser",
    "train": "train: learning people",
    "search": "search-index: a vector index for millions of faces",
    "plots": "evaluate --plots",
    "lance": "export-vectors --to lance",
    "cluster": "Ray's dashboard and job server",
}


def packages() -> list[Item]:
    """Return the versions of what Facelake needs, and which of its extras are there."""
    python = Item(GROUP, "Python", platform.python_version())
    try:
        core, lacking = requirements(NAME), missing(NAME)
    except metadata.PackageNotFoundError:
        said = f"{__version__}, run from its folder: what it needs is not known"
        return [python, Item(GROUP, NAME, said, "pip install . in its folder")]
    versions = (f"{one.name} {found}" for one in core if (found := version_of(one.name)))
    return [
        python,
        Item(GROUP, NAME, __version__),
        Item(GROUP, "libraries", ", ".join(versions)),
        Item(GROUP, "missing", ", ".join(lacking) or "nothing",
             f"pip install {' '.join(lacking)}" if lacking else "", bool(lacking)),
        *map(_extra, EXTRAS),
    ]  # fmt: skip


def _extra(name: str) -> Item:
    lacking = missing(NAME, name)
    value = f"lacks {', '.join(lacking)}" if lacking else "installed"
    advice = f"for {EXTRAS[name]}: pip install 'facelake[{name}]'" if lacking else ""
    return Item(GROUP, f"extra {name}", value, advice)


def requirements(package: str, extra: str = "") -> list[Requirement]:
    """Return what a package needs here, or what an extra of it needs besides.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    every = [Requirement(line) for line in metadata.requires(package) or []]
    return [one for one in every if _asked(one, extra) and not (extra and _asked(one, ""))]


def _asked(one: Requirement, extra: str) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": extra})


def missing(package: str, extra: str = "") -> list[str]:
    """Return the packages that `requirements` names and that are not there, or not as asked.

    Raises:
        PackageNotFoundError: the package itself is not installed.
    """
    out = []
    for one in requirements(package, extra):
        found = version_of(one.name)
        if found is None or not one.specifier.contains(found, prereleases=True):
            out.append(f"'{one.name}{one.specifier}'" if found else one.name)
        else:
            out += [name for more in one.extras for name in missing(one.name, more)]
    return list(dict.fromkeys(out))
