"""Pages of people: the contact sheet, and those who were seen once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.faces import Faces
from pipeline.report.images import day
from pipeline.report.names import page_name, person_stem
from pipeline.report.people import Person, Shown
from pipeline.report.settings import PER_PAGE
from pipeline.report.site import Site, plural
from pipeline.report.spool import Spool


@dataclass(frozen=True)
class Tile:
    """A person, or a face, on a contact sheet; empty texts are not shown."""

    picture: bytes | None
    alt: str
    label: str
    href: str = ""
    faces: str = ""
    dates: str = ""
    doubts: Sequence[str] = ()


def picture_of(faces: Faces, spool: Spool, row: int | None) -> bytes | None:
    """Return the thumbnail of a face shown, None if there is none."""
    number = -1 if row is None else int(faces.pictures[row])
    return spool.get(number) if number >= 0 else None


def dates(first: Any, last: Any) -> str:
    """Return the time between two dates."""
    return " to ".join(dict.fromkeys(filter(None, [day(first), day(last)])))


def tile(person: Person, faces: Faces, spool: Spool, linked: bool) -> Tile:
    """Return a person's tile."""
    row = person.row
    count = plural(row["faces"], "face")
    doubts = [plural(person.doubtful, "doubtful face")] if person.doubtful else []
    doubts += ["might be two persons"] if person.mixed else []
    doubts += ["might be one with another"] if person.others else []
    return Tile(
        picture_of(faces, spool, person.cover),
        f"{person.label}, {count}",
        person.label,
        page_name(person_stem(person.id)) if linked else "",
        f"{count} in {plural(row['images'], 'photo')}" if linked else "",
        dates(row["first_taken_at"], row["last_taken_at"]),
        doubts,
    )


def people_pages(site: Site, shown: Shown, faces: Faces, spool: Spool) -> Iterator[tuple[str, str]]:
    """Yield name and text of the contact sheet's pages, those of people seen once after them."""
    lines = [
        f"{plural(shown.persons_in_all, 'person has', 'people have')} two faces or more, or a name."
    ]
    if len(shown.persons) < shown.persons_in_all:
        lines.append(f"Shown are the {len(shown.persons):,} largest; see --people.")
    if shown.hidden:
        lines.append(f"{plural(shown.hidden, 'hidden person is', 'hidden people are')} left out.")
    once = f"{plural(shown.once_in_all, 'person', 'people')} seen once"
    other = (page_name("once"), once) if shown.once else None
    values = {"heading": "People", "stem": "people", "lines": lines, "other": other}
    yield from _sheet(site, values, shown.persons, faces, spool, shown.ungrouped)
    if shown.once:
        lines = []
        if len(shown.once) < shown.once_in_all:
            lines = [f"Shown are {len(shown.once):,} of {shown.once_in_all:,}; see --people."]
        values = {"heading": "People seen once", "stem": "once", "lines": lines,
                  "other": (page_name("people"), "People seen more often")}  # fmt: skip
        yield from _sheet(site, values, shown.once, faces, spool, ())


def _sheet(
    site: Site, values: dict[str, Any], persons: Sequence[Person], faces: Faces, spool: Spool,
    ungrouped: Sequence[tuple[str, int]],
) -> Iterator[tuple[str, str]]:  # fmt: skip
    of = max(1, -(-len(persons) // PER_PAGE))
    for at in range(1, of + 1):
        some = persons[(at - 1) * PER_PAGE : at * PER_PAGE]
        tiles = [tile(one, faces, spool, values["stem"] == "people") for one in some]
        page = values | {"at": at, "of": of, "tiles": tiles, "command": "",
                         "ungrouped": ungrouped if at == of else ()}  # fmt: skip
        name = page_name(values["stem"], at)
        yield name, site.render("people.html", "People", page, first=name == "people.html")
