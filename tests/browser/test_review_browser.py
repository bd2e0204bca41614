"""The review page in a real Chromium: what is done there holds, and everybody can use it."""

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import expect

from pipeline.people import actions
from pipeline.people.corrections import undone
from pipeline.people.view import view
from tests.support.browsing import faces, people, press, says, status
from tests.support.lakes import persons as persons_of
from tests.support.review_lakes import HOSTILE, again, review_lake
from tests.support.served import TOKEN, served

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
PAGES = ["/", "/photos", "/nobody", "/questions", "/questions?kind=who", "/duplicates",
         "/search", "/history", "/rejected", "/me"]  # fmt: skip
ROOT = Path(__file__).parents[2]
PHONE = {"width": 390, "height": 844}


def test_what_somebody_says_holds_over_a_restart_and_clustering(tmp_path, enter):
    store = review_lake(tmp_path)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        ann, bob, carl, dora = people(page)[:4]

        page.goto(base + ann)
        page.get_by_label("Name", exact=True).fill("Ann")
        page.get_by_label("Name", exact=True).press("Enter")
        says(page, "Called Ann")
        assert page.title().startswith("Ann")

        page.goto(base)
        for person in (bob, carl):
            page.locator(f"input[name=person][value='{person[8:]}']").check()
        page.get_by_text("2 selected").wait_for()
        page.get_by_role("button", name="Make them one").click()
        says(page, "2 persons are one")
        page.get_by_text("5 people", exact=True).wait_for()
        expect(page.locator(".people > .person")).to_have_count(5)

        page.goto(f"{base}{dora}?view=faces")
        own_faces = faces(page)
        for box in page.locator(".pick input").all()[:2]:
            box.check()
        page.get_by_role("button", name="somebody new").click()
        says(page, "2 faces taken out")
        expect(page.locator(".tiles > li")).to_have_count(4)
        assert faces(page) == own_faces[2:]

        page.locator(".pick input").first.check()
        page.get_by_role("button", name="Not a face").click()
        says(page, "1 face marked as no face")
        expect(page.locator(".tiles > li")).to_have_count(3)
        assert faces(page) == own_faces[3:]

        page.get_by_role("button", name="Hide").click()
        says(page, "Hidden from lists")
        status(page).get_by_role("button", name="Undo").last.click()
        says(page, "Taken back")

    again(tmp_path)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        assert page.get_by_text("Ann", exact=True).is_visible()
        assert len(people(page)) == 6, "6 people, one merged, one split"
        page.goto(f"{base}{dora}?view=faces")
        assert sorted(faces(page)) == sorted(own_faces[3:])
        page.goto(base + ann)
        assert page.get_by_label("Name", exact=True).input_value() == "Ann"
    where = persons_of(store)
    assert where[own_faces[0]] == where[own_faces[1]] != where[own_faces[3]] == dora[8:]
    assert where[own_faces[2]] is None
    groups = {person for person in where.values() if person in (bob[8:], carl[8:])}
    assert len(groups) == 1
    assert len(undone(store.constraints())) == 1


def test_keys_answer_questions(tmp_path, enter):
    store = review_lake(tmp_path)
    suggest(store)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        page.goto(f"{base}/questions?kind=same")
        assert "0 answered" in page.locator("main").inner_text()
        first = page.locator(".sides").inner_html()
        press(page, "s")
        assert page.locator(".sides").inner_html() != first
        press(page, "n")
        says(page, "two people")
        assert "1 answered" in page.locator("main").inner_text()
        press(page, "u")
        assert "0 answered" in page.locator("main").inner_text()
        press(page, "y")
        says(page, "one person")
        assert len(view(store).people) == 5
        page.goto(f"{base}/unknown")
        assert page.url == f"{base}/questions?kind=who"
        page.locator("input[name=name]").first.type("ynus")
        assert page.url == f"{base}/questions?kind=who", "keys are for typing where one types"


def suggest(store):
    """Publish the same people again, with suggestions of the first four."""
    import pyarrow as pa

    from pipeline.lake import schema

    rows = view(store).people.sort_by("person_id").to_pylist()[:4]
    suggestions = [
        {"person_a": a["person_id"], "person_b": b["person_id"], "face_a": a["cover_face_id"],
         "face_b": b["cover_face_id"], "kind": "apart", "similarity": 0.4, "threshold": 0.4,
         "doubt": 1 - 0.1 * at, "run_id": "s"}
        for at, (a, b) in enumerate(pairwise(rows))
    ]  # fmt: skip
    about = {k: v for k, v in store.current().items() if k not in ("run_id", "tables")}
    store.publish("s", [store.clusters()], [store.people()],
                  pa.Table.from_pylist(suggestions, schema.SUGGESTIONS), about)  # fmt: skip


def all_pages(page, base):
    page.goto(base)
    person = people(page)[0]
    page.goto(base + person)
    face = faces(page)[0]
    return [*PAGES, person, f"/faces/{face}", f"/photos/{face[:32]}", f"/search?face={face}",
            "/people/0000"]  # fmt: skip


def test_pages_keep_nobody_out(tmp_path, browser):
    store = review_lake(tmp_path, names=HOSTILE)
    suggest(store)
    with served(tmp_path / "lake") as base:
        # axe is put into the page as a script, which our policy forbids
        context = browser.new_context(bypass_csp=True, viewport=PHONE, reduced_motion="reduce")
        page = context.new_page()
        page.goto(f"{base}/?token={TOKEN}")
        person = people(page)[0]
        page.goto(base + person)
        page.get_by_label("Name", exact=True).fill(HOSTILE[8])
        page.get_by_role("button", name="Name", exact=True).click()
        says(page, "Called nnn")
        shown_path = page.url.removeprefix(base)
        for path in [*all_pages(page, base), shown_path]:
            page.goto(base + path)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= PHONE["width"], path
            # colours alone differ between the schemes
            for scheme, rules in (("light", None), ("dark", {"runOnly": ["color-contrast"]})):
                page.emulate_media(color_scheme=scheme)
                axe_result = axe.Axe().run(page, options=rules).response
                assert axe_result["passes"], "nothing was looked at"
                bad = [(one["id"], one["nodes"][0]["html"]) for one in axe_result["violations"]
                       if one["impact"] in ("serious", "critical")]  # fmt: skip
                assert bad == [], (path, scheme)
        context.close()


def test_hostile_names_do_not_run(tmp_path, enter):
    store = review_lake(tmp_path, people=len(HOSTILE), names=HOSTILE)
    ids = view(store).people["person_id"].to_pylist()
    for person, name in zip(ids[1:], HOSTILE[1:], strict=True):
        actions.name(store, person, name, note=name)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        page.goto(f"{base}/people/{ids[0]}")
        page.get_by_label("Name", exact=True).fill(HOSTILE[0])
        page.get_by_role("button", name="Name", exact=True).click()
        says(page, "Called <script>")
        assert page.title().startswith(HOSTILE[0])
        page.goto(base)
        assert set(page.locator("main ul.people a bdi").all_inner_texts()) == set(HOSTILE)
        for path in all_pages(page, base)[:-1]:
            page.goto(base + path)
            assert page.title() != "ran"
            made = "document.querySelectorAll('main script, main [onerror]').length"
            assert page.evaluate(made) == 0


def test_pages_work_without_javascript(tmp_path, browser):
    review_lake(tmp_path)
    with served(tmp_path / "lake") as base:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{base}/?token={TOKEN}")
        page.goto(base + people(page)[0])
        page.get_by_label("Name", exact=True).fill("Ann")
        page.get_by_role("button", name="Name", exact=True).click()
        says(page, "Called Ann")
        status(page).get_by_role("button", name="Undo").click()
        assert page.get_by_label("Name", exact=True).input_value() == ""
        context.close()


def test_another_site_gets_nothing(tmp_path, browser):
    store = review_lake(tmp_path)
    with served(tmp_path / "lake") as base:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{base}/?token={TOKEN}")
        person = people(page)[0]
        # `localhost` is another site than 127.0.0.1; the cookie is not for it
        other = base.replace("127.0.0.1", "localhost")
        page.route("**/evil", lambda route: route.fulfill(
            content_type="text/html",
            body=f"<form method=post action='{base}{person}/name'><input name=name value=Mallory>"
                 f"</form><img src='{base}/thumbs/x'><script>document.forms[0].submit()</script>",
        ))  # fmt: skip
        page.goto(f"{other}/evil")
        page.wait_for_url(f"{base}{person}/name")
        assert "Not shown (403)" in page.locator("h1").inner_text()
        assert page.goto(other).status == 403
        assert store.constraints() == []
        context.close()


def test_a_picture_that_is_dropped_is_searched_for(tmp_path, enter):
    review_lake(tmp_path)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        page.goto(f"{base}/search")
        page.evaluate("""() => {
                const held = new DataTransfer();
                held.items.add(new File(["no picture"], "<b>.jpg", {type: "image/jpeg"}));
                const dropped = {dataTransfer: held, bubbles: true, cancelable: true};
                document.body.dispatchEvent(new DragEvent("dragover", dropped));
                document.body.dispatchEvent(new DragEvent("drop", dropped));
            }""")
        says(page, "cannot be used")


def test_the_command_serves_until_it_is_interrupted(tmp_path, enter):
    review_lake(tmp_path, people=2)
    words = [sys.executable, "-m", "pipeline.commands.main", "review", str(tmp_path / "lake"),
             "--no-browser"]  # fmt: skip
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        assert str(tmp_path) in running.stdout.readline()
        address = running.stdout.readline().strip()
        base, _, token = address.partition("/?token=")
        assert base.startswith("http://127.0.0.1:")
        assert len(token) >= 43
        page = enter(base, token=token)
        page.wait_for_load_state("networkidle")
        assert len(people(page)) == 2
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert "Traceback" not in err
    assert token not in out + err
    assert running.returncode in (0, 130)


def test_photos_show_their_faces(tmp_path, enter):
    review_lake(tmp_path, people=2)
    with served(tmp_path / "lake") as base:
        page = enter(base)
        page.goto(base + people(page)[0])
        page.locator("main ul.shots a").first.click()
        page.wait_for_load_state("networkidle")
        box = page.locator("svg a").bounding_box()
        picture = page.locator("svg image").bounding_box()
        assert box["x"] - picture["x"] == pytest.approx(picture["width"] * 30 / 120, abs=6)
        page.locator("svg a rect").click()
        expect(page.get_by_label("Who is face 1?")).to_be_focused()
