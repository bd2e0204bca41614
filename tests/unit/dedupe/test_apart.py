import pytest

from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.library import Lake
from pipeline.people.constraints import NOT_A_COPY
from tests.support import pictures
from tests.support.pictures import encoded, photo


@pytest.fixture
def lake(tmp_path):
    image = photo()
    first = encoded(image, quality=95)
    files = {
        "a.jpg": first,
        "same.jpg": first,
        "small.jpg": encoded(image.resize((200, 300))),
        "else.jpg": encoded(photo("obama-press-room.jpg")),
    }
    pictures.indexed(tmp_path / "lake", files, tmp_path / "photos")
    made = Lake(str(tmp_path / "lake"))
    made.dedupe(ray="never")
    return made


def copies(lake):
    return sorted(copy.place.uri.rsplit("/", 1)[-1] for copy in lake.copies())


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["small.jpg", "same.jpg", "photos/same"])
def test_what_is_no_copy_stays_until_it_is_taken_back(lake, name, full):
    assert copies(lake) == ["same.jpg", "small.jpg"]
    said = lake.not_a_copy(name)
    with pytest.raises(ConfigError, match="has changed since"):
        lake.copies()
    lake.dedupe(ray="never", full=full)
    left = {"small.jpg": ["same.jpg"]}.get(name, ["small.jpg"])
    assert copies(lake) == left
    lake.dedupe(ray="never", full=full)
    assert copies(lake) == left
    lake.people.undo(said.constraint_id)
    lake.dedupe(ray="never", full=full)
    assert copies(lake) == ["same.jpg", "small.jpg"]


def test_the_kept_one_can_be_no_copy_too(lake):
    lake.not_a_copy("a.jpg")
    lake.dedupe(ray="never")
    assert copies(lake) == ["small.jpg"]  # of same.jpg


def test_several_are_told_apart_from_each_other(lake):
    said = lake.not_a_copy("small.jpg", "same.jpg", "else.jpg")
    lake.dedupe(ray="never")
    assert copies(lake) == []
    lake.people.undo(said.constraint_id)
    lake.dedupe(ray="never")
    assert copies(lake) == ["same.jpg", "small.jpg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("else.jpg", "is a copy of nothing"), ("nobody.jpg", "has no photo nobody.jpg")],
)
def test_what_makes_no_sense_changes_nothing(lake, name, message):
    with pytest.raises(ConfigError, match=message):
        lake.not_a_copy(name)
    assert lake.people.history() == []
    assert copies(lake) == ["same.jpg", "small.jpg"]


def test_the_command_says_it_and_searches_again(lake, capsys):
    assert main(["dedupe", lake.url, "--not-a-copy", "small.jpg", "--ray", "never"]) == 0
    assert "undo it with" in capsys.readouterr().out
    assert copies(lake) == ["same.jpg"]
    assert main(["people", lake.url, "history"]) == 0
    assert NOT_A_COPY in capsys.readouterr().out
    assert main(["people", lake.url, "undo"]) == 0
    assert main(["dedupe", lake.url, "--ray", "never"]) == 0
    assert copies(lake) == ["same.jpg", "small.jpg"]
    both = ["--not-a-copy", "small.jpg", "--apply", "move", "aside"]
    assert main(["dedupe", lake.url, *both]) != 0
    assert "before --plan" in capsys.readouterr().err


@pytest.mark.parametrize("full", [False, True])
def test_another_is_kept_when_somebody_says_so(lake, full):
    said = lake.keep("same.jpg")
    with pytest.raises(ConfigError, match="has changed since"):
        lake.copies()
    lake.dedupe(ray="never", full=full)
    assert copies(lake) == ["a.jpg", "small.jpg"]
    reasons = lake.duplicates.to_arrow(["reason"])["reason"].to_pylist()
    assert any("chosen by hand" in one for one in reasons)
    with pytest.raises(ConfigError, match="kept already"):
        lake.keep("same.jpg")
    lake.keep("a.jpg")
    lake.dedupe(ray="never", full=full)
    assert copies(lake) == ["same.jpg", "small.jpg"], "the last choice counts"
    lake.people.undo()
    lake.people.undo(said.constraint_id)
    lake.dedupe(ray="never", full=full)
    assert copies(lake) == ["same.jpg", "small.jpg"], "the rules again"


def test_a_thumbnail_that_is_kept_stands_for_no_larger_picture(lake):
    lake.keep("small.jpg")
    lake.dedupe(ray="never")
    assert copies(lake) == ["same.jpg"], "a.jpg has more than twice the pixels, and stays"


def test_keeping_what_is_alone_is_refused(lake, capsys):
    with pytest.raises(ConfigError, match="no copies"):
        lake.keep("else.jpg")
    assert main(["dedupe", lake.url, "--keep", "same.jpg", "--ray", "never"]) == 0
    assert copies(lake) == ["a.jpg", "small.jpg"]
    assert main(["dedupe", lake.url, "--keep", "a.jpg", "--not-a-copy", "small.jpg"]) != 0


def test_a_kept_photo_that_is_forgotten_is_named_nowhere(lake):
    lake.keep("same.jpg")
    row = next(r for r in lake.images.to_arrow().to_pylist() if r["uri"].endswith("/same.jpg"))
    assert lake.forget(image="same.jpg", prove=True).proof.findings == []
    assert row["image_id"] not in [i for r in lake.people.history() for i in r.faces]


@pytest.mark.parametrize("name", ["small.jpg", "same.jpg"])
def test_a_photo_that_is_forgotten_leaves_nothing_of_it_behind(lake, name):
    lake.not_a_copy("small.jpg", "same.jpg")
    row = next(r for r in lake.images.to_arrow().to_pylist() if r["uri"].endswith(f"/{name}"))
    assert lake.forget(image=name, prove=True).proof.findings == []
    told = [i for r in lake.people.history() for i in (*r.faces, *r.others)]
    assert row["image_id"] not in told
