"""The page of a model in Chromium, from disk: nothing runs, everybody can use it."""

from dataclasses import replace

import pytest

from pipeline import Lake
from pipeline.web.model.page import model_page
from tests.support.model_pages import NETWORK, history, tables_of, training_lake

pytest.importorskip("sklearn")

PHONE = {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of a head, and of a network without thumbnails, full of hostile names."""
    base = tmp_path_factory.mktemp("model")
    labels = training_lake(base / "lake")
    lake = Lake(base / "lake")
    trained = lake.train(base / "model", labels, bootstrap=20, false_alarms=0.1)
    network = replace(trained, card={**trained.card, "network": NETWORK})
    tables = {**tables_of(base / "model"), "history": history(500)}
    (base / "network.html").write_text(model_page(lake.store, network, tables))
    return [base / "model" / "report.html", base / "network.html"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_from_disk_on_a_phone(browser, pages, scheme):
    context = browser.new_context(viewport=PHONE, color_scheme=scheme)
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: problems.extend(
        [request.url] if not request.url.startswith(("file:", "data:")) else []))  # fmt: skip
    for path in pages:
        page.goto(path.as_uri())
        page.evaluate(
            """Promise.all([...document.images].map(
                image => { image.loading = "eager"; return image.decode(); }))"""
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.evaluate("document.querySelectorAll('main svg polyline').length") >= 3
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(21, 20, 19)" if scheme == "dark" else "rgb(250, 249, 246)")
        text = page.locator("#confused ~ .matrix td.same").first
        assert text.is_visible()
    assert problems == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, pages, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # axe is a script, which the page's own policy refuses
    context = browser.new_context(bypass_csp=True, color_scheme=scheme)
    page = context.new_page()
    for path in pages:
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        response = axe.run(page).response
        assert response["passes"]
        serious = [
            (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
            for one in response["violations"] if one["impact"] in ("serious", "critical")
        ]  # fmt: skip
        assert serious == [], path
    context.close()
