"""Pages of duplicates, side by side."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.web.pages import plural, size
from pipeline.web.report.copies import WORDS, Copies, Group
from pipeline.web.report.names import page_name, short_name
from pipeline.web.report.previews import Previews
from pipeline.web.report.settings import GROUPS_PER_PAGE
from pipeline.web.report.site import Site

STEM = "duplicates"


def duplicates_pages(
    site: Site, copies: Copies | None, previews: Previews, folder: str, command: str
) -> Iterator[tuple[str, str]]:
    """Yield name and text of the pages; one that says what to run if nobody has looked."""
    groups = copies.groups if copies else ()
    previews.fetch(row for group in groups for row in group.members)
    of = max(1, -(-len(groups) // GROUPS_PER_PAGE))
    lines = _lines(copies) if copies else []
    for at in range(1, of + 1):
        start = (at - 1) * GROUPS_PER_PAGE
        some = [
            _group(group, number, previews, folder)
            for number, group in enumerate(groups[start : start + GROUPS_PER_PAGE], start + 1)
        ]
        values = {
            "stem": STEM, "at": at, "of": of, "groups": some, "lines": lines if at == 1 else (),
            "command": "" if copies else command,
        }  # fmt: skip
        yield page_name(STEM, at), site.render("duplicates.html", "Duplicates", values, at == 1)


def _lines(copies: Copies) -> list[str]:
    if not copies.groups_in_all:
        return ["No photo is a copy of another."]
    kinds = ", ".join(plural(count, *WORDS.get(kind, (kind, kind))) for kind, count in copies.kinds)
    lines = [
        f"{plural(copies.groups_in_all, 'group')}: {kinds}.",
        f"What is not kept takes {size(copies.bytes)}. Nothing is removed unless you ask: "
        "see facelake dedupe --plan and --apply.",
    ]
    if len(copies.groups) < copies.groups_in_all:
        lines.append(f"Shown are the {len(copies.groups):,} with the most to gain; see --groups.")
    return lines


def _group(group: Group, number: int, previews: Previews, folder: str) -> dict[str, Any]:
    count = len(group.members) + group.left_out
    return {
        "number": number,
        "text": f"{plural(count, 'photo')}, {size(group.bytes)} not kept",
        "left_out": group.left_out,
        "members": [_member(row, previews, folder) for row in group.members],
    }


def _member(row: Mapping[str, Any], previews: Previews, folder: str) -> dict[str, Any]:
    picture, why = previews.get(row["image_id"])
    name = short_name(row["uri"], folder)
    kind = WORDS[row["kind"]][0] if row["kind"] in WORDS else row["kind"]
    figures = [
        f"{row['width']} x {row['height']}" if row["width"] and row["height"] else "",
        row["format"] or "",
        size(row["bytes"]) if row["bytes"] is not None else "",
        f"{row['distance']} of 256 bits differ" if row["distance"] is not None else "",
    ]
    return {
        "row": row, "picture": picture, "why": why, "name": name, "kind": kind,
        "alt": f"{'kept' if row['keep'] else kind}: {name[-80:]}",
        "figures": ", ".join(filter(None, figures)),
    }  # fmt: skip
