"""A page of pictures of what was found: one file, no script, nothing is fetched."""

import base64
import io
from html import escape

from PIL import Image

from pipeline.probe import Probe
from pipeline.search.results import Found, Match
from pipeline.storage import visible

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #777; }
@media (prefers-color-scheme: dark) { :root { --soft: #aaa; } }
* { box-sizing: border-box; }
body { font: 1rem/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.2rem; overflow-wrap: anywhere; }
p { color: var(--soft); margin: .3rem 0; }
ol { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr));
  list-style: none; margin: 1rem 0; padding: 0; }
li { border: 1px solid var(--line); border-radius: .5rem; overflow: hidden; padding: .5rem; }
img, .none { aspect-ratio: 1; border-radius: .3rem; display: block; object-fit: cover;
  width: 100%; }
.none { border: 1px dashed var(--line); color: var(--soft); display: grid; place-items: center; }
.asked { width: 9rem; }
.where { font-size: .75rem; overflow-wrap: anywhere; }
b { font-variant-numeric: tabular-nums; }
""".strip()
# Even if something slipped through, nothing runs and nothing is fetched.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(found: Found, lake: str) -> str:
    """Return the page, HTML."""
    asked = found.asked
    if found.probe is not None:
        name = found.probe.name
        picture = _picture(_jpeg(found.probe), "the face that was searched for", "asked")
        count = found.probe.faces
        more = f"<p>The photo has {count} faces; this one was taken.</p>" if count > 1 else ""
    else:
        name = asked.face_id if asked else ""
        picture = _picture(asked.thumbnail if asked else None, "the face that was searched for",
                           "asked")  # fmt: skip
        more = f'<p class="where"><bdi>{_text(asked.uri)}</bdi></p>' if asked else ""
    title = f"Faces like {_text(name)}"
    items = "\n".join(_item(rank, match) for rank, match in enumerate(found.matches, start=1))
    count = len(found.matches)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
{STYLE}
</style>
</head>
<body>
<main>
<h1>Faces like <bdi>{_text(name)}</bdi></h1>
{picture}
{more}
<p>{count:,} {"face" if count == 1 else "faces"} of <bdi>{_text(lake)}</bdi>, most similar first</p>
<ol>
{items}
</ol>
</main>
</body>
</html>
"""


def _item(rank: int, match: Match) -> str:
    who = match.name or ("no name yet" if match.person_id else "nobody yet")
    alt = f"face {rank}, {match.name or 'unnamed'}, similarity {match.similarity:.2f}"
    box = ", ".join(f"{value:.0f}" for value in match.box)
    return (
        f"<li>{_picture(match.thumbnail, alt)}\n"
        f"<b>{match.similarity:.3f}</b> <bdi>{_text(who)}</bdi>\n"
        f'<p class="where"><bdi>{_text(match.uri)}</bdi></p>\n'
        f'<p class="where">{_text(match.face_id)}, box {box}</p></li>'
    )


def _picture(jpeg: bytes | None, alt: str, kind: str = "") -> str:
    shown = f' class="{kind}"' if kind else ""
    if not jpeg:
        classes = " ".join(filter(None, ["none", kind]))
        return f'<div class="{classes}" role="img" aria-label="{_text(alt)}">no picture</div>'
    data = base64.b64encode(jpeg).decode()
    return f'<img{shown} src="data:image/jpeg;base64,{data}" alt="{_text(alt)}">'


def _text(text: str) -> str:
    return escape(visible(text), quote=True)


def _jpeg(probe: Probe) -> bytes:
    out = io.BytesIO()
    Image.fromarray(probe.crop).save(out, "JPEG", quality=90)
    return out.getvalue()
