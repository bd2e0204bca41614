"""The whole life of a person in a real Chromium, and by keys alone."""

import numpy as np
from playwright.sync_api import expect

from pipeline.commands.main import main
from pipeline.people.view import view
from tests.support import lakes
from tests.support.browsing import faces, says, status
from tests.support.marking import DETECTED, embed, region
from tests.support.review_lakes import again, review_lake
from tests.support.served import served

EACH = 10


def test_the_life_of_a_person(tmp_path, enter):
    """Named inside a photo, drawn, split with those who follow, merged, undone, kept for good."""
    vectors = np.concatenate([lakes.two_people(EACH), lakes.archive(2, 6, seed=5)[0]])
    store = review_lake(tmp_path, vectors=vectors, options=("--threshold", "0.3"))
    rows = store.lake.read("images", ["image_id", "uri"]).sort_by("uri").to_pylist()
    ann, hers = ([f"{row['image_id']}-0" for row in some] for some in (rows[:10], rows[10:20]))
    embed(store, rows[0], region("Ann", DETECTED))
    lake = str(tmp_path / "lake")
    assert main(["people", lake, "import", "--embedded"]) == 0
    (one,) = {view(store).persons_of(ann + hers)[face] for face in ann + hers}

    with served(lake) as base:
        live(enter(base), base, one, ann, hers)
    again(tmp_path)
    with served(lake) as base:  # started again, after another clustering
        page = enter(base)
        for name in ("Ann", "Bea", "Cleo"):
            expect(page.get_by_role("link", name=name)).to_be_visible()
        page.goto(f"{base}/people/{one}?view=faces")
        assert sorted(faces(page)) == sorted(ann)
    names = sorted(view(store).people["name"].drop_null().to_pylist())
    assert names == ["Ann", "Bea", "Cleo"]


def live(page, base, one, ann, hers):
    page.get_by_role("link", name="Ann").click()
    assert page.url == f"{base}/people/{one}"
    page.get_by_role("link", name="Faces", exact=True).click()
    assert sorted(faces(page)) == sorted(ann + hers)

    for face in hers[:3]:  # a few of her sister's: the others follow
        page.locator(f"[data-id='{face}'] .pick input").check()
    page.get_by_label("They are").fill("Bea")
    page.get_by_role("button", name="Move").click()
    asked = page.get_by_role("dialog")
    expect(asked.get_by_role("heading", name="Who goes along?")).to_be_visible()
    assert asked.get_by_label("following face").count() == len(hers) - 3
    asked.get_by_role("button", name="Take these out").click()
    says(page, "10 faces taken out: a new person, Bea")
    expect(page.locator(".tiles > li[data-id]")).to_have_count(EACH)
    assert sorted(faces(page)) == sorted(ann)

    page.goto(f"{base}/photos/{ann[0][:32]}?with={one}")
    page.locator("svg image").wait_for()
    page.get_by_role("button", name="Add a missing face").click()
    page.get_by_label("Frame").fill("88,50,115,90")
    page.get_by_label("Who is it?").fill("Cleo")
    page.get_by_role("button", name="Add this face").click()
    says(page, "A face was added: Cleo", 90)  # models are loaded first
    page.goto(f"{base}/photos?with=Ann&with=Cleo&without=Bea")
    expect(page.locator(".shots > li[data-photo]")).to_have_count(1)

    page.goto(base)
    for name in ("Ann", "Bea"):
        page.get_by_label(f"select {name}").check()
    page.get_by_role("button", name="Make them one").click()
    asked = page.get_by_role("dialog")
    asked.get_by_role("button", name="Keep this name Bea").click()
    says(page, "2 persons are one: Bea")
    status(page).get_by_role("button", name="Undo").last.click()
    says(page, "Taken back")
    expect(page.get_by_role("link", name="Ann")).to_be_visible()


def test_the_same_by_keys_alone(tmp_path, enter):
    """Everything is reached and done by Tab, arrows, letters and Enter; nothing is clicked."""
    store = review_lake(tmp_path)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        reach(page, ".people a")
        page.keyboard.press("Enter")
        page.wait_for_url("**/people/*")
        reach(page, "#name")
        page.keyboard.type("Ann")
        page.keyboard.press("Enter")
        says(page, "Called Ann")
        reach(page, ".shots a")
        page.keyboard.press("x")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("x")
        expect(page.locator("output")).to_have_text("2 selected")
        reach(page, "button[value=split]")
        page.keyboard.press("Enter")
        says(page, "2 faces taken out")
        reach(page, ".shots a")
        page.keyboard.press("Enter")
        page.wait_for_url("**/photos/*")
        first = page.url
        page.keyboard.press("ArrowRight")
        page.wait_for_url(lambda url: "/photos/" in url and url != first)
        page.keyboard.press("n")
        expect(page.locator(".drawn")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator(".drawn")).to_have_count(0)
        page.keyboard.press("Escape")
        page.wait_for_url("**/people/*")
    assert sorted(view(store).people["faces"].to_pylist()) == [2, 4, 6, 6, 6, 6, 6]


def reach(page, selector):
    """Press Tab until an element has the focus."""
    for _ in range(80):
        if page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {selector}")
