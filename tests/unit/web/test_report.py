"""The report: pages without scripts, whatever the lake holds or lacks."""

import html
import re

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from pipeline.commands.main import main
from pipeline.errors import LakeBusyError, StorageError
from pipeline.lake.lock import NAME, RunLock
from pipeline.lake.store import LakeStore, Models
from pipeline.lake.tombstones import PENDING
from pipeline.maintenance.forget import run as forget_run
from pipeline.maintenance.forget.target import find
from pipeline.people import People, actions
from pipeline.storage.folder import Folder
from pipeline.web.charts import MOST_BARS, histogram, timeline
from pipeline.web.report.history import runs
from pipeline.web.report.names import (
    PAGE,
    common_folder,
    page_name,
    person_stem,
    short_name,
    split_name,
)
from pipeline.web.report.settings import ReportConfig
from pipeline.web.report.write import write_report
from tests.support.report_lakes import ALONE, ANN, BOB, ESCAPE, HOSTILE, SCRIPT, evaluation, lake_of

SHOWN = html.escape(SCRIPT)


def pages(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def text(page):
    """What a page says: tags away, escapes resolved, space made single."""
    body = re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", body)).split())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Pages of a lake full of hostile names, by name."""
    base = tmp_path_factory.mktemp("hostile")
    lake = lake_of(base / "lake")
    evaluation(base / "lake" / "evaluation")
    write_report(lake)
    return pages(base / "lake" / "report")


def test_every_page_is_there_and_nothing_else(hostile):
    stems = ["index", "people", "once", "duplicates", "speed", "evaluation"]
    stems += [person_stem(person) for person in (ANN, BOB, ESCAPE)]
    assert set(hostile) == {f"{stem}.html" for stem in stems}
    assert all(PAGE.fullmatch(name) for name in hostile)


def test_nothing_runs_and_nothing_is_fetched(hostile):
    for name, page in hostile.items():
        assert "<script" not in page.lower(), name
        assert "default-src 'none'" in html.unescape(page), name
        # outside of what is shown as text there is no address but those of pages and data
        addresses = re.findall(r'(?:href|src)="([^"]*)"', page)
        for address in addresses:
            ours = address.startswith(("data:image/", "#")) or address.split("#")[0] in hostile
            assert ours, (name, address[:80])
        tags = re.findall(r"<[a-z][^>]*>", page)
        assert not [tag for tag in tags if re.search(r"\son[a-z]+=", re.sub('"[^"]*"', "", tag))]


def test_hostile_names_are_shown_as_text(hostile):
    page = hostile[f"person-{ANN}.html"]
    assert f"Ann {SHOWN}" in page
    assert SHOWN in page
    assert "{{ 7 * 7 }}{% raw %}" in page
    assert r"line\x0afeed\x00null" in page
    assert "👩‍👩‍👧 party" in page
    assert r"\x202e" in page
    assert "\u202e" not in page
    assert "x" * 390 in page
    assert "x" * 402 not in page
    assert "&amp;lt;b&amp;gt;" in page
    for name in HOSTILE[:2]:
        assert html.escape(name) in hostile["index.html"].replace("&#34;", "&quot;")


def test_a_hostile_id_names_a_file_in_the_folder(hostile):
    assert f"{person_stem(ESCAPE)}.html" in hostile
    assert "/" not in person_stem(ESCAPE)
    assert person_stem(ANN) == f"person-{ANN}"


def test_links_lead_to_pages(hostile):
    for page in hostile.values():
        for link in re.findall(r'<a [^>]*href="([^"]*)"', page):
            name, _, place = link.partition("#")
            assert name in {"", *hostile}
            assert f'id="{place}"' in (hostile[name] if name else page) or not place


def test_the_overview_says_what_was_indexed(hostile):
    page = text(hostile["index.html"])
    assert "photos 15" in page
    assert "could not be used 2" in page
    assert f"not a JPEG: {SCRIPT}" in page
    assert "first date 2002-05-01" in page
    assert "its licence and limits are not known here" in page  # a model without a card
    assert "Faces by detector score" in page
    assert "Not done yet" not in page


def test_a_person_s_page_tells_faces_doubts_and_photos(hostile):
    page = hostile[f"person-{ANN}.html"]
    page_text = text(page)
    assert "13 faces" in page_text
    assert f"doubtful: {SCRIPT}" in page_text
    assert "Might be two persons." in page_text
    assert f'href="person-{BOB}.html"' in page
    assert "Faces by date" in page_text
    assert "1 of 13" in page  # in the text that stands for a picture
    assert "cannot be read" in page_text  # photos that are not there any more
    assert "left:31.25%;top:20.83%;width:18.75%;height:29.17%" in page


def test_people_seen_once_are_found_on_their_sheet(hostile):
    assert f'href="once.html#person-{ALONE}"' in hostile[f"person-{BOB}.html"]
    assert f'id="person-{ALONE}"' in hostile["once.html"]


def test_hidden_people_are_left_out(tmp_path):
    lake = lake_of(tmp_path / "lake")
    actions.hide(People(lake), [BOB], None)
    write_report(lake)
    made = pages(tmp_path / "lake" / "report")
    assert f"person-{BOB}.html" not in made
    assert "hidden" in text(made["people.html"])
    assert not any("bbbb22" in page for page in made.values())


def test_duplicates_stand_side_by_side_with_the_reason(hostile):
    page_text = text(hostile["duplicates.html"])
    assert "1 group: 3 near copies" in page_text
    assert page_text.index("Kept") < page_text.index("near copy")
    assert f"because {SCRIPT}" in page_text
    assert "4 of 256 bits differ" in page_text
    assert hostile["duplicates.html"].count("data:image/jpeg") == 1  # the one that is on disk


def test_speed_and_evaluation(hostile):
    page_text = text(hostile["speed.html"])
    assert f"r{SCRIPT}" in page_text
    assert "held up by detect; cores busy 50%" in page_text
    assert f"passed over: 3 {SCRIPT}" in page_text
    page = hostile["evaluation.html"]
    assert page.count("data:image/png") == 1
    assert page.count("data:image/svg+xml") == 1
    assert "nowhere" not in page
    assert "accuracy 0.9877 0.98 to 0.99" in text(page)


def test_runs_are_listed_by_time_whatever_their_kind(tmp_path):
    lake = LakeStore(str(tmp_path / "lake"))
    names = ["cluster-20260103T000000-a", "20260102T000000-b", "dedupe-20260101T000000-c"]
    for name in sorted(names):
        lake.publish_json(f"runs/{name}.json", {"run_id": name})
    assert [run.run_id for run in runs(lake)[0]] == names


def test_no_page_of_an_earlier_report_stays(tmp_path):
    lake = lake_of(tmp_path / "lake")
    first = write_report(lake)
    folder = tmp_path / "lake" / "report"
    for name in ("notes.html", "people-7.html", "person-0123456789abcdef.html"):
        (folder / name).write_text("somebody's own")
    actions.merge(People(lake), [ANN, BOB], None)
    again = write_report(lake)
    assert again.removed == 1
    assert again.pages == first.pages - 1
    assert f"person-{BOB}.html" not in pages(folder)
    # only what a report wrote goes, whatever its name
    assert len(pages(folder)) == again.pages + 3


def test_bounds(tmp_path):
    lake = lake_of(tmp_path / "lake")
    write_report(lake, ReportConfig(people=1, photos=0, groups=0))
    made = pages(tmp_path / "lake" / "report")
    assert [name for name in made if name.startswith("person-")] == [f"person-{ANN}.html"]
    assert "Shown are the 1 largest; see --people." in text(made["people.html"])
    assert "Shown are the 0 with the most to gain" in text(made["duplicates.html"])
    assert "data:image/jpeg" not in made["duplicates.html"]


def test_many_faces_are_paged(tmp_path, monkeypatch):
    for module in ("people", "person", "tiles"):
        monkeypatch.setattr(f"pipeline.web.report.{module}.PER_PAGE", 5)
    write_report(lake_of(tmp_path / "lake"))
    made = pages(tmp_path / "lake" / "report")
    assert {f"person-{ANN}.html", f"person-{ANN}-2.html", f"person-{ANN}-3.html"} <= set(made)
    second = made[f"person-{ANN}-2.html"]
    assert "Page 2 of 3" in second
    assert "6 of 13" in second
    assert "Faces by date" not in second


@pytest.mark.parametrize("lacks", ["thumbnails", "clusters", "photos"])
def test_a_lake_that_lacks_something(tmp_path, lacks):
    lake = lake_of(tmp_path / "lake", **{lacks: False})
    write_report(lake)
    made = pages(tmp_path / "lake" / "report")
    page_text = text(made["index.html"])
    if lacks == "clusters":
        assert f"facelake cluster {tmp_path}/lake" in page_text
        assert f"facelake dedupe {tmp_path}/lake" in text(made["duplicates.html"])
        assert "Some of the faces" in page_text
        assert f"facelake cluster {tmp_path}/lake" in text(made["people.html"])
    if lacks == "thumbnails":
        assert "no thumbnail" in text(made["people.html"])
    if lacks == "photos":
        assert "cannot be read" in text(made["duplicates.html"])


def test_an_empty_lake(tmp_path):
    lake = LakeStore(str(tmp_path / "lake"))
    lake.claim(Models("mtcnn@1", "sface@1", 4))
    written = write_report(lake)
    made = pages(tmp_path / "lake" / "report")
    assert written.pages == len(made) == 4
    assert "photos 0" in text(made["index.html"])


def test_on_object_storage(tmp_path):
    fsspec.filesystem("memory").store.clear()
    lake = lake_of("memory://bucket/lake", photos=False)
    assert write_report(lake).pages == len(lake.folder.child("report").files())
    other = Folder(str(tmp_path / "out"))
    write_report(lake, output=other)
    assert set(other.files()) == set(lake.folder.child("report").files())


def test_the_first_page_comes_last(tmp_path, monkeypatch):
    lake = lake_of(tmp_path / "lake")
    order = []
    publish = Folder.publish
    monkeypatch.setattr(
        Folder, "publish", lambda self, name, data: (order.append(name), publish(self, name, data))
    )
    write_report(lake)
    assert order[-1] == "index.html"


def test_pictures_that_are_no_jpeg_are_not_shown(tmp_path):
    from tests.support.photo_lakes import face, photo_lake

    lake = photo_lake(tmp_path / "lake", {"a.jpg": [face(thumbnail=b"<svg onload='alert(1)'/>")]})
    write_report(lake)
    page = pages(tmp_path / "lake" / "report")["index.html"]
    assert "no thumbnail" in page
    assert "PHN2Zy" not in page


def test_the_command(tmp_path, capsys):
    lake_of(tmp_path / "lake")
    assert main(["report", str(tmp_path / "lake"), "--output", str(tmp_path / "out")]) == 0
    assert f"Open {tmp_path}/out/index.html" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "facelake index" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "lake"), "--people", "-1"]) == 2
    assert "give 0 or more" in capsys.readouterr().err


def test_histograms():
    values = np.array([1, 10, 100, 1000, 0, np.nan], np.float32)
    chart = histogram("sizes", "faces", values, log=True)
    assert chart.total == 4
    assert chart.bars[0].label.startswith("1 to")
    assert "4 faces, 1 to 1,000" in chart.text
    assert histogram("sizes", "faces", values).total == 5
    assert histogram("sizes", "faces", values[-1:]) is None
    assert [bar.count for bar in histogram("one", "faces", np.full(3, 2.0)).bars] == [3]


@pytest.mark.parametrize(
    ("last", "label"),
    [("2020-01-09", "2020-01-01"), ("2020-12-01", "2020-01"), ("2030-01-01", "2020")],
)
def test_timelines_choose_their_unit(last, label):
    moments = np.array(["2020-01-01", "NaT", last], "datetime64[ms]")
    chart = timeline("when", "photos", moments)
    assert chart.bars[0].label == label
    assert chart.total == 2


def test_timelines_with_clocks_that_were_never_set():
    moments = np.array(["0001-01-01", "1980-01-01", "9999-01-01"], "datetime64[ms]")
    chart = timeline("when", "photos", moments)
    assert len(chart.bars) == 3 <= MOST_BARS
    assert timeline("when", "photos", np.array(["NaT"], "datetime64[ms]")) is None


def test_names():
    uris = pa.chunked_array([["/a/b/c.jpg", "/a/b/d/e.jpg"], ["/a/bc.jpg"]])
    assert common_folder(uris) == "/a/"
    assert common_folder(pa.chunked_array([["/a/b.jpg"]])) == "/a/"
    assert common_folder(pa.chunked_array([], pa.string())) == ""
    assert short_name("/a/b.jpg", "/a/") == "b.jpg"
    assert short_name("/a/", "/a/") == "/a/"
    assert split_name("a/b.tar#c/d.jpg") == ("d.jpg", "a/b.tar#c")
    assert split_name("a/b.tar#d.jpg") == ("d.jpg", "a/b.tar")
    assert split_name("a/d.jpg") == ("d.jpg", "a")
    assert split_name("d.jpg") == ("d.jpg", "")
    assert split_name("a/") == ("a/", "")
    assert page_name("people", 1) == "people.html"
    assert page_name("people", 2) == "people-2.html"


def test_a_report_holds_the_lake(tmp_path, capsys):
    lake = lake_of(tmp_path / "lake")
    outside = ["--output", str(tmp_path / "site")]
    with RunLock(lake.folder, "forget-1"):
        for more in ([], outside):
            assert main(["report", str(tmp_path / "lake"), *more]) == LakeBusyError.exit_code
    assert "forget-1" in capsys.readouterr().err
    assert not (tmp_path / "lake" / "report").exists()
    assert not (tmp_path / "site").exists()
    for more in ([], outside):
        assert main(["report", str(tmp_path / "lake"), *more]) == 0
        assert not (tmp_path / "lake" / NAME).exists()


def stopped_forgetting(lake, monkeypatch):
    """Forget a person of a lake, stopped right after it was noted what is to go."""

    def stop(*_):
        raise KeyboardInterrupt

    target = find(lake, [ANN], (), ())
    with monkeypatch.context() as stopping:
        stopping.setattr(forget_run, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            forget_run.forget(lake, target, "f1")
    assert lake.folder.exists(PENDING)


@pytest.mark.parametrize("outside", [True, False])
def test_a_report_shows_nobody_who_is_half_forgotten(tmp_path, monkeypatch, outside):
    lake = lake_of(tmp_path / "lake")
    stopped_forgetting(lake, monkeypatch)
    site = tmp_path / ("site" if outside else "lake/report")
    assert main(["report", str(tmp_path / "lake"), *(["--output", str(site)] * outside)]) == 0
    assert not lake.folder.exists(PENDING)
    assert f"person-{BOB}.html" in pages(site)
    assert not any(ANN in name or ANN in page for name, page in pages(site).items())


def test_a_lake_that_cannot_be_written_is_reported_elsewhere(tmp_path, monkeypatch, capsys):
    lake = lake_of(tmp_path / "lake")
    create = Folder.create

    def refused(folder, name, data):
        if folder.url == lake.folder.url:
            raise StorageError("read-only")
        return create(folder, name, data)

    monkeypatch.setattr(Folder, "create", refused)
    folder, site = str(tmp_path / "lake"), str(tmp_path / "site")
    assert main(["report", folder, "--output", site]) == 0
    assert (tmp_path / "site" / "index.html").exists()
    for inside in ([], ["--output", f"{folder}/pages"]):
        assert main(["report", folder, *inside]) == StorageError.exit_code
    lake.folder.publish(PENDING, b"{}")
    assert main(["report", folder, "--output", site]) == LakeBusyError.exit_code
    assert "being forgotten" in capsys.readouterr().err
