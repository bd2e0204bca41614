"""Pages of people: the contact sheet, and those who were seen once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.web.pages import plural
from pipeline.web.report.faces import Faces
from pipeline.web.report.images import day
from pipeline.web.report.names import page_name, person_stem
from pipeline.web.report.people import Person, ShownPeople
from pipeline.web.report.settings import PER_PAGE
from pipeline.web.report.site import Site
from pipeline.web.report.spool import Spool


@dataclass(frozen=True)
class Tile:
    """A person, or a face, on a contact sheet; empty texts are not shown."""

    picture: bytes | None
    alt: str
    label: str
    href: str = ""
    faces: str = ""
    dates: str = ""
    photo: str = ""
    doubts: Sequence[str] = ()
    other: tuple[str, str, str] | None = None
    anchor: str = ""


def picture_of(faces: Faces, spool: Spool, row: int | None) -> bytes | None:
    """Return the thumbnail of a face shown, None if there is none."""
    number = -1 if row is None else int(faces.pictures[row])
    return spool.get(number) if number >= 0 else None


def dates(first: Any, last: Any) -> str:
    """Return the time between two dates."""
    return " to ".join(dict.fromkeys(filter(None, [day(first), day(last)])))


def seen(row: Mapping[str, Any]) -> str:
    """Return the number of faces, and of different photos where copies make that fewer."""
    faces = plural(row["faces"], "face")
    same = row["faces"] == row["images"]
    return faces if same else f"{faces}, {plural(row['images'], 'different photo')}"


def tile(
    shown: ShownPeople, person: Person, faces: Faces, spool: Spool, photo: str | None = None
) -> Tile:
    """Return a person's tile; with the name of the photo for one who is seen once."""
    row = person.row
    count = plural(row["faces"], "face")
    doubts = [plural(person.doubtful, "doubtful face")] if person.doubtful else []
    doubts += ["might be two persons"] if person.mixed else []
    return Tile(
        picture_of(faces, spool, person.cover),
        f"{person.label}, {count}",
        person.label,
        shown.links[person.id][1] if photo is None else "",
        seen(row) if photo is None else "",
        dates(row["first_taken_at"], row["last_taken_at"]),
        photo or "",
        doubts,
        next(iter(shown.others(person)), None),
        person_stem(person.id),
    )


def people_pages(
    site: Site, shown: ShownPeople, faces: Faces, spool: Spool, photo: Callable[[int], str]
) -> Iterator[tuple[str, str]]:
    """Yield name and text of the contact sheet's pages, those of people seen once after them.

    `photo` gives the name of the photo of a face shown.
    """
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

    def many(person: Person) -> Tile:
        return tile(shown, person, faces, spool)

    def single(person: Person) -> Tile:
        name = photo(person.cover) if person.cover is not None else ""
        return tile(shown, person, faces, spool, name)

    yield from _sheet(site, values, shown.persons, many, shown.ungrouped)
    if shown.once:
        lines = []
        if len(shown.once) < shown.once_in_all:
            lines = [f"Shown are {len(shown.once):,} of {shown.once_in_all:,}; see --people."]
        values = {"heading": "People seen once", "stem": "once", "lines": lines,
                  "other": (page_name("people"), "People seen more often")}  # fmt: skip
        yield from _sheet(site, values, shown.once, single, ())


def _sheet(
    site: Site, values: dict[str, Any], persons: Sequence[Person],
    make_tile: Callable[[Person], Tile], ungrouped: Sequence[tuple[str, int]],
) -> Iterator[tuple[str, str]]:  # fmt: skip
    of = max(1, -(-len(persons) // PER_PAGE))
    for at in range(1, of + 1):
        tiles = [make_tile(one) for one in persons[(at - 1) * PER_PAGE : at * PER_PAGE]]
        page = values | {"at": at, "of": of, "tiles": tiles, "command": "",
                         "ungrouped": ungrouped if at == of else ()}  # fmt: skip
        name = page_name(values["stem"], at)
        yield name, site.render("people.html", "People", page, first=name == "people.html")
