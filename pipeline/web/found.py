"""A page of pictures of what was found: one file, no script, nothing is fetched."""

import io

from PIL import Image

from pipeline.search.probe import Probe
from pipeline.search.results import Found
from pipeline.web.pages import STATIC_POLICY, environment


def page(found: Found, lake: str) -> str:
    """Return the page, HTML."""
    asked = found.asked
    picture: bytes | None
    if found.probe is not None:
        name, picture = found.probe.name, _jpeg(found.probe)
        count = found.probe.faces
        more = f"The photo has {count} faces; this one was taken." if count > 1 else ""
    else:
        name, picture = (asked.face_id, asked.thumbnail) if asked else ("", None)
        more = asked.uri if asked else ""
    template = environment("pipeline.web").get_template("found.html")
    return template.render(
        policy=STATIC_POLICY, name=name, asked=picture, more=more, lake=lake, matches=found.matches
    )


def _jpeg(probe: Probe) -> bytes:
    out = io.BytesIO()
    Image.fromarray(probe.crop).save(out, "JPEG", quality=90)
    return out.getvalue()
