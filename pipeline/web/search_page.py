"""The result of a search as a page with pictures: one file, no script, nothing is fetched."""

import io

from PIL import Image

from pipeline.search.probe import Probe
from pipeline.search.results import SearchResult
from pipeline.web.pages import STATIC_POLICY, environment


def page(result: SearchResult, lake: str) -> str:
    """Return the page, HTML."""
    face = result.query_face
    picture: bytes | None
    if result.probe is not None:
        name, picture = result.probe.name, _jpeg(result.probe)
        count = result.probe.faces
        more = f"The photo has {count} faces; this one was taken." if count > 1 else ""
    else:
        name, picture = (face.face_id, face.thumbnail) if face else ("", None)
        more = face.uri if face else ""
    template = environment("pipeline.web").get_template("search_page.html")
    return template.render(
        policy=STATIC_POLICY,
        name=name,
        query=picture,
        more=more,
        lake=lake,
        matches=result.matches,
    )


def _jpeg(probe: Probe) -> bytes:
    out = io.BytesIO()
    Image.fromarray(probe.crop).save(out, "JPEG", quality=90)
    return out.getvalue()
