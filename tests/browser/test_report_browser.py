"""The report in Chromium, from disk: nothing runs, nothing is fetched, everybody can use it."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from pipeline.web.report.write import write_report
from tests.support.report_lakes import ANN, evaluation, lake_of

SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    base = tmp_path_factory.mktemp("browser")
    lake = lake_of(base / "lake")
    evaluation(base / "lake" / "evaluation")
    write_report(lake)
    return base / "lake" / "report"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The report of a lake without people, duplicates and thumbnails."""
    lake = lake_of(tmp_path_factory.mktemp("bare") / "lake", thumbnails=False, clusters=False)
    write_report(lake)
    return Path(lake.folder.url) / "report"


@pytest.fixture
def page(browser):
    """A page at a phone's width that notes what it should not do."""
    context = browser.new_context(viewport={"width": 390, "height": 800})
    made = context.new_page()
    made.problems = []
    made.on("console", lambda message: made.problems.append(message.text))
    made.on("pageerror", lambda error: made.problems.append(str(error)))
    made.on("dialog", lambda dialog: (made.problems.append("dialog"), dialog.dismiss()))
    made.on("request", lambda request: made.problems.extend(
        [request.url] if urlsplit(request.url).scheme not in ("file", "data") else []))  # fmt: skip
    yield made
    context.close()


@pytest.mark.parametrize("which", ["report", "bare"])
def test_all_pages_open_and_lead_to_each_other(page, which, request):
    folder = request.getfixturevalue(which)
    seen, left = set(), {"index.html"}
    while left:
        name = left.pop()
        seen.add(name)
        page.goto((folder / name).as_uri())
        page.mouse.move(100, 300)  # names that wait for it
        # rejects if one is broken
        page.evaluate(
            """Promise.all([...document.images].map(
                image => { image.loading = "eager"; return image.decode(); }))"""
        )
        assert page.evaluate("[...document.images].every(image => image.alt)"), name
        assert page.evaluate("document.querySelectorAll('h1').length") == 1, name
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, f"{name} is {wide} px wide"
        for link in page.evaluate("[...document.links].map(link => link.href)"):
            path = Path(unquote(urlsplit(link).path))
            assert path.parent == folder, link
            assert path.exists(), link
            left |= {path.name} - seen
    assert page.problems == []
    assert seen == {path.name for path in folder.glob("*.html")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, report, bare, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # axe is a script, which the pages' own policy refuses
    context = browser.new_context(bypass_csp=True, color_scheme=scheme)
    made = context.new_page()
    names = ["index", "people", "once", "duplicates", "speed", "evaluation", f"person-{ANN}"]
    paths = [report / f"{name}.html" for name in names] + [
        bare / "index.html",
        bare / "people.html",
    ]
    for path in paths:
        made.goto(path.as_uri())
        response = axe.run(made).response
        assert response["passes"]
        violations = response["violations"]
        serious = [
            (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
            for one in violations if one["impact"] in SERIOUS
        ]  # fmt: skip
        assert serious == [], path
    context.close()


def test_the_watch_would_see_a_script(page, report, tmp_path):
    """The other tests mean something: what they watch for is seen, and the policy stops it."""
    text = (report / "people.html").read_text()
    evil = "<script>alert(1)</script><img src='http://127.0.0.1:9/x'>"
    for name, policy in (("open", text.replace("default-src", "no-src")), ("shut", text)):
        (tmp_path / f"{name}.html").write_text(policy.replace("</main>", f"{evil}</main>"))
    page.goto((tmp_path / "open.html").as_uri())
    assert "dialog" in page.problems
    page.problems.clear()
    page.goto((tmp_path / "shut.html").as_uri())
    assert "dialog" not in page.problems
    refused = [problem for problem in page.problems if "Content Security Policy" in problem]
    assert len(refused) == 2


def test_the_keyboard_reaches_the_content(page, report):
    page.goto((report / "people.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    box = page.locator(":focus").bounding_box()
    assert box["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_it_prints(browser, report):
    context = browser.new_context()
    made = context.new_page()
    made.goto((report / f"person-{ANN}.html").as_uri())
    made.emulate_media(media="print", color_scheme="dark")
    assert not made.locator("nav").first.is_visible()
    # paper is white, though the screen is dark
    for element in ("body", ".card", ".chart svg"):
        colour = f"getComputedStyle(document.querySelector('{element}')).backgroundColor"
        assert made.evaluate(colour) == "rgb(255, 255, 255)"
    text = "getComputedStyle(document.querySelector('.photo-name')).color"
    assert made.evaluate(text) == "rgb(0, 0, 0)"
    assert len(made.pdf()) > 10_000
    context.close()
