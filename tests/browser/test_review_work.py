"""Working with many faces in a real Chromium: lists that grow, ticking, nothing that is lost."""

import pytest
from playwright.sync_api import expect

from pipeline.people import actions
from pipeline.people.log import made_by
from pipeline.people.view import view
from pipeline.web.review.routes import people as routes
from tests.support.browsing import people, press, says, status
from tests.support.lakes import archive
from tests.support.review_lakes import review_lake
from tests.support.served import served


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Pages of 60 people who are listed six at once."""
    monkeypatch.setattr(routes, "PERSONS_SHOWN", 6)
    store = review_lake(tmp_path, vectors=archive(60, 1)[0])
    with served(tmp_path / "lake") as base:
        yield base, store


def tiles(page):
    return page.locator(".people > .person")


def test_lists_grow_and_let_go_what_is_far_away(many, enter):
    base, _ = many
    page = enter(base, viewport={"width": 390, "height": 320})
    expect(tiles(page)).not_to_have_count(60)
    first = tiles(page).first.locator("a").get_attribute("href")
    tiles(page).first.locator(".pick input").check()
    for _ in range(40):
        page.mouse.wheel(0, 600)
        page.wait_for_timeout(60)
    expect(page.locator("[data-chunk]")).to_have_count(10)
    expect(page.locator("[data-chunk='2'][data-state=empty]")).to_have_count(1)
    expect(page.locator("[data-chunk='1'] .person")).to_have_count(6)  # the focus is in there
    expect(page.locator("output")).to_have_text("1 selected")
    tiles(page).last.locator(".pick input").check()
    expect(page.locator("output")).to_have_text("2 selected")
    for _ in range(40):
        page.mouse.wheel(0, -600)
        page.wait_for_timeout(30)
    expect(tiles(page).first.locator("a")).to_have_attribute("href", first)
    expect(tiles(page).first.locator(".pick input")).to_be_checked()
    page.get_by_role("button", name="Make them one").click()  # one of them is not in the page now
    says(page, "2 persons are one")
    page.get_by_text("59 people", exact=True).wait_for()


def test_coming_back_leads_to_the_same_place(many, enter):
    base, _ = many
    page = enter(base, viewport={"width": 700, "height": 320})
    for _ in range(8):
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(80)
    page.wait_for_timeout(300)
    assert "page=" in page.url
    here = page.url
    page.reload()
    assert page.url == here
    for _ in range(40):  # and what comes before is there again
        page.mouse.wheel(0, -600)
        page.wait_for_timeout(30)
    expect(page.locator("[data-chunk='1'] .person")).to_have_count(6)


def test_a_frame_ticks_what_it_touches(many, enter):
    base, _ = many
    page = enter(base, viewport={"width": 900, "height": 700})
    first, third = (tiles(page).nth(at).bounding_box() for at in (0, 2))
    page.mouse.move(first["x"] - 2, first["y"] + first["height"] + 6)
    page.mouse.down()
    page.mouse.move(first["x"] + 40, first["y"] + 60, steps=4)
    page.mouse.move(third["x"] + 30, third["y"] + 30, steps=6)
    page.mouse.up()
    expect(page.locator("output")).to_have_text("3 selected")
    tiles(page).nth(4).locator("a").click(modifiers=["Shift"])
    expect(page.locator("output")).not_to_have_text("3 selected")
    assert page.url.split("?")[0] == f"{base}/", "while something is ticked, a click ticks"
    page.keyboard.press("Escape")
    expect(page.locator("[data-acts].on")).to_have_count(0)


def test_by_keys_alone(many, enter):
    base, store = many
    page = enter(base)
    tiles(page).first.locator("a").focus()
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    expect(page.locator("output")).to_have_text("2 selected")
    page.get_by_label("They are").focus()
    page.keyboard.type("Ann")
    page.keyboard.press("Enter")
    says(page, "2 persons are one: Ann")
    assert view(store).people["name"].drop_null().to_pylist() == ["Ann"]
    page.get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    says(page, "Taken back")
    assert view(store).people["name"].drop_null().to_pylist() == []


def test_a_stale_page_keeps_ticks_and_says_what_changed(tmp_path, enter):
    store = review_lake(tmp_path)
    with served(tmp_path / "lake") as base:
        stale_page(enter(base), base, store)


def stale_page(page, base, store):
    one, two = (link.rpartition("/")[2] for link in people(page)[:2])
    page.goto(f"{base}/people/{one}?view=faces")
    page.locator(".pick input").first.check()
    page.get_by_label("They are").fill("Somebody new")
    whose = made_by.set("maria")
    actions.move(store, [page.locator(".pick input").first.get_attribute("value")], two)
    made_by.reset(whose)
    page.get_by_role("button", name="Move").click()
    says(page, "moved meanwhile")
    says(page, "maria")
    expect(page.get_by_label("They are")).to_have_value("Somebody new")
    expect(page.locator(".pick input").first).to_be_checked()
    assert len(store.constraints()) == 2, "what maria did, and nothing else"


def test_a_server_that_was_started_again_takes_what_was_ticked(tmp_path, enter):
    store = review_lake(tmp_path)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        for box in page.locator(".pick input").all()[:2]:
            box.check()
        expect(page.locator("output")).to_have_text("2 selected")
        page.evaluate("document.querySelectorAll('[name=csrf]').forEach(e => { e.value = 'old' })")
        page.get_by_role("button", name="Make them one").click()
        says(page, "2 persons are one")
    page.locator(".pick input").first.check()
    page.get_by_role("button", name="Hide").click()
    says(page, "does not answer")
    expect(page.locator(".pick input").first).to_be_checked()
    assert len(view(store).people) == 5


def test_what_somebody_else_does_shows(many, enter):
    base, store = many
    page = enter(base)
    person = people(page)[0].rpartition("/")[2]
    whose = made_by.set("maria")
    actions.name(store, person, "Zoë")
    made_by.reset(whose)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    says(page, "maria: Named Zoë")
    expect(page.locator(".people bdi").get_by_text("Zoë")).to_have_count(1)
    page.goto(f"{base}/history")
    assert "maria" in page.locator("main").inner_text()


def test_a_name_is_kept_when_one_leaves_its_field(many, enter):
    base, store = many
    page = enter(base)
    page.goto(base + people(page)[0])
    field = page.get_by_label("Name", exact=True)
    field.fill("Nobody's")
    page.keyboard.press("Escape")
    expect(field).to_have_value("")
    assert store.constraints() == [], "Esc leaves it as it was"
    field.fill("Ann")
    page.get_by_role("link", name="History").focus()
    says(page, "Called Ann")
    field.fill("")
    page.get_by_role("link", name="History").focus()
    expect(field).to_have_value("Ann")
    page.get_by_label("Name", exact=True).fill("Zoë")
    page.get_by_role("link", name="History").click()  # the page is left at the same moment
    page.wait_for_url(f"{base}/history")
    page.reload()
    page.get_by_text("Zoë").first.wait_for()
    assert view(store).people["name"].drop_null().to_pylist() == ["Zoë"]


def test_everybody_says_who_they_are(many, enter):
    base, store = many
    page = enter(base)
    page.goto(f"{base}/me")
    page.get_by_label("Your name").fill("Zoë <b>")
    page.get_by_role("button", name="Keep").click()
    page.wait_for_url(f"{base}/")
    page.goto(base + people(page)[0])
    page.get_by_label("Name", exact=True).fill("Ann")
    press(page, "Enter")
    says(page, "Called Ann")
    assert [row.made_by for row in store.constraints()] == ["Zoë <b>"]


def test_a_face_is_drawn_with_the_mouse_and_by_keys(tmp_path, enter):
    store = review_lake(tmp_path, people=2)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        page.goto(base + people(page)[0])
        page.locator("ul.shots a").first.click()
        page.wait_for_load_state("networkidle")
        assert page.locator(".named > li").count() == 1
        page.get_by_role("button", name="Add a missing face").click()
        at = page.locator("svg image").bounding_box()
        x, y = at["x"] + at["width"] * 0.72, at["y"] + at["height"] * 0.1
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + at["width"] * 0.2, y + at["height"] * 0.25, steps=5)
        page.mouse.up()
        expect(page.get_by_label("Who is it?")).to_be_focused()
        page.keyboard.type("Drawn")
        page.keyboard.press("Enter")
        says(page, "A face was added: Drawn", 90)  # models are loaded first
        expect(page.locator(".named > li")).to_have_count(2)
        assert "Drawn" in page.locator(".named").inner_text()

        page.keyboard.press("n")
        for _ in range(12):
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        says(page, "A face was added: nobody yet")
        expect(page.locator(".named > li")).to_have_count(3)
        status(page).get_by_role("button", name="Undo").last.click()
        says(page, "Taken back")
        expect(page.locator(".named > li")).to_have_count(2)
    names = view(store).people["name"].drop_null().to_pylist()
    assert names == ["Drawn"]
