"""Draws the picture of the README: pages of the example lake's report, in Chromium.

python examples/readme_picture.py demo-lake docs/report.png
"""

import io
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from pipeline.lake.store import LakeStore
from pipeline.people import People, actions
from pipeline.people.names import uris_of
from pipeline.people.view import view
from pipeline.web.report.names import person_stem
from pipeline.web.report.write import write_report

WIDTH, HEIGHT = 760, 900
NAMES = {"obama": "Barack Obama", "biden": "Joe Biden", "collins": "Eileen Collins"}

lake_path, picture = sys.argv[1:]
with tempfile.TemporaryDirectory() as aside:
    # named in a copy: the lake stays as it is
    copy = Path(aside) / "demo-lake"
    shutil.copytree(lake_path, copy, ignore=shutil.ignore_patterns("report"))
    lake = LakeStore(str(copy))
    people = People(lake)
    rows = view(people).people.sort_by([("faces", "descending")]).to_pylist()
    for row in rows:
        faces = [face["face_id"] for face in view(people).faces(row["person_id"])]
        photos = [uri.rsplit("/", 1)[-1] for uri in uris_of(people, faces).values()]
        names = Counter(word for word in NAMES for photo in photos if word in photo)
        actions.name(people, row["person_id"], NAMES[names.most_common(1)[0][0]])
    write_report(lake)
    pages = ["index.html", f"{person_stem(rows[0]['person_id'])}.html"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        shots = []
        for name, scheme in zip(pages, ("light", "dark"), strict=True):
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme
            )
            page.goto((copy / "report" / name).as_uri())
            page.wait_for_timeout(300)
            shots.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()

whole = Image.new("RGB", (WIDTH * len(shots) + 12, HEIGHT), (200, 203, 207))
for at, shot in enumerate(shots):
    whole.paste(shot, (at * (WIDTH + 12), 0))
whole.quantize(255, dither=Image.Dither.NONE).save(picture, optimize=True)
print(f"{picture}: {Path(picture).stat().st_size / 1e3:.0f} KB")
