"""Splitting: the rest of the same sister follows a few ticked faces, and nobody of the other."""

import numpy as np
import pytest

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.run import Run
from pipeline.commands.main import main
from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import in_process
from pipeline.people.followers import part
from pipeline.people.log import undo
from pipeline.people.table import PeopleTable
from tests.support import lakes

EACH = 10
# So low that both are one person, and would be again without corrections.
JOINED = ClusterConfig(threshold=0.3, full=True)
COUNT = iter(range(10_000))


def cluster(people):
    Run(people, JOINED, in_process, f"run-{next(COUNT)}").cluster()


@pytest.fixture
def sisters(tmp_path):
    """A lake in which two sisters are one person: its table, her faces, and her sister's."""
    others, _ = lakes.archive(3, 6, seed=5)
    vectors = np.concatenate([lakes.two_people(EACH), others])
    people = lakes.make(tmp_path / "lake", vectors)
    cluster(people)
    ids = [lakes.face_id(f"f{i}") for i in range(2 * EACH)]
    return PeopleTable(people), ids[:EACH], ids[EACH:]


def person_of(people, faces):
    where = people.now().persons_of(faces)
    assert len(set(where.values())) == 1
    return where[faces[0]]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("ticked", [2, 3, 5])
def test_the_rest_of_her_faces_follow(sisters, ticked, named):
    people, own, hers = sisters
    one = person_of(people, own + hers)
    if named:  # by the exemplars, some of which are hers
        people.name(one, "Ann")
    parting = people.followers(one, hers[:ticked])
    assert sorted(parting.follow) == sorted(hers[ticked:])
    assert sorted(parting.stay) == sorted(own)
    before = len(people.history())
    new = people.split(one, hers[:ticked]).person_id
    for row in people.history()[before:]:
        if row.kind == "different":
            assert sorted(row.faces) == sorted(hers)
            assert set(row.others) <= set(own)
    for _ in range(3):  # at once, and after two more clusterings
        assert (person_of(people, own), person_of(people, hers)) == (one, new)
        assert (people.now().person(one)["name"] == "Ann") is named
        assert people.now().person(new)["name"] is None
        cluster(people.store)
    undo(people.store)
    cluster(people.store)
    # Without a name nothing tells the two halves apart: they are equally large, so either id stays.
    assert person_of(people, own + hers) in ({one} if named else {one, new})


@pytest.mark.parametrize("ticked", [2, 5])
def test_only_the_ticked_go_if_that_is_asked_for(sisters, ticked):
    people, own, hers = sisters
    one = person_of(people, own + hers)
    new = people.split(one, hers[:ticked], only=True).person_id
    assert person_of(people, own + hers[ticked:]) == one
    (different,) = [row for row in people.history() if row.kind == "different"]
    assert set(different.others) <= set(own), "no face that may well be hers"
    cluster(people.store)
    assert person_of(people, hers[:ticked]) == new
    assert not set(own) & {face["face_id"] for face in people.faces(new)}


def test_her_faces_moved_to_her_are_told_from_her_sisters_alone(sisters):
    people, own, hers = sisters
    one = person_of(people, own + hers)
    other = person_of(people, [lakes.face_id(f"f{2 * EACH}")])
    people.move(hers[:3], other)
    different = [row for row in people.history() if row.kind == "different"]
    assert all(set(row.others) <= set(own) for row in different)
    people.move(hers[:3], one)
    assert person_of(people, own + hers) == one


def test_more_faces_than_are_compared(sisters, monkeypatch):
    people, own, hers = sisters
    one = person_of(people, own + hers)
    monkeypatch.setattr("pipeline.people.actions.MOST_COMPARED", 4)
    new = people.split(one, hers, only=True).person_id
    assert (person_of(people, own), person_of(people, hers)) == (one, new)


def test_of_one_person_nobody_follows():
    vectors, _ = lakes.archive(1, 10, seed=3)
    faces = dict(zip("abcdefghij", vectors, strict=True))
    parting = part(faces, ["a", "b"])
    assert parting.follow == []
    assert sorted(parting.apart) == sorted(parting.stay) == list("cdefghij")


def test_a_face_that_is_kept_stays():
    faces = dict(zip("abcdefgh", lakes.two_people(4), strict=True))
    assert sorted(part(faces, ["e"]).follow) == ["f", "g", "h"]
    assert sorted(part(faces, ["e"], kept=["f"], least_gap=-1).follow) == ["g", "h"]
    assert part(faces, ["a", "b", "c", "d", "e", "f", "g", "h"]).stay == []
    assert part({face: faces[face] for face in "abcd"}, ["x"]).follow == []


def test_of_many_faces_several_follow_at_once():
    label = np.repeat([0, 1], 600)
    vectors = lakes.Archive(128, 1).faces(label)
    parting = part(dict(enumerate(vectors)), range(600, 605))
    assert sorted(parting.follow) == list(range(605, 1200))


def test_the_command_shows_who_follows(sisters, capsys):
    people, own, hers = sisters
    url, one = people.store.lake.folder.url, person_of(people, own + hers)
    assert main(["people", url, "split", one, *hers[:2], "--dry-run"]) == 0
    out = capsys.readouterr().out
    follow, stay = out.split("10 other faces stay")
    assert "8 other faces follow" in follow
    assert all(face in follow for face in hers[2:])
    assert all(face in stay for face in own)
    assert people.history() == []
    assert main(["people", url, "split", one, *hers[:2]]) == 0
    out = capsys.readouterr().out
    assert "10 faces of" in out
    assert "8 of them follow by likeness" in out
    assert main(["people", url, "undo"]) == 0
    assert main(["people", url, "split", one, *hers[:2], "--only"]) == 0
    assert "2 faces of" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="not of"):
        people.followers(one, [lakes.face_id(f"f{2 * EACH}")])
