from datetime import UTC, datetime, timedelta

import pytest

from pipeline.errors import ConfigError
from pipeline.people.corrections import ConfirmedSet, Constraint, Corrections, resolve, undone

START = datetime(2024, 5, 1, tzinfo=UTC)


def history(*rows):
    """Constraints from (kind, faces, options), one second after the other, with ids 0, 1, 2 ..."""
    return [
        Constraint(
            str(at), START + timedelta(seconds=at), kind, tuple(faces.split()),
            tuple(options.pop("others", "").split()), **options,
        )
        for at, (kind, faces, options) in enumerate((k, f, dict(o)) for k, f, o in rows)
    ]  # fmt: skip


def row(kind, faces="", **options):
    return kind, faces, options


def sets(corrections):
    return {" ".join(sorted(one.faces)): one for one in corrections.sets}


def apart(corrections):
    faces = [" ".join(sorted(one.faces)) for one in corrections.sets]
    return {(faces[a], faces[b]) for a, b in corrections.apart}


def outcome(*rows):
    return resolve(history(*rows))


def test_nothing_said():
    assert resolve([]) == Corrections()


def test_same_is_transitive_and_keeps_the_id():
    result = outcome(row("same", "a b", person_id="P"), row("same", "b c"))
    assert result.sets == (ConfirmedSet(frozenset("abc"), "P"),)


def test_a_name_confirms_its_faces_and_the_last_one_counts():
    result = outcome(
        row("name", "a b", person_id="P", value="Ann"), row("name", "a", person_id="P", value="Bo")
    )
    assert result.sets == (ConfirmedSet(frozenset("ab"), "P", "Bo"),)
    result = outcome(
        row("name", "a b", person_id="P", value="Ann"), row("name", "a", person_id="P", value="")
    )
    assert result.sets == (ConfirmedSet(frozenset("ab"), "P"),)


def test_one_person_id_is_one_set():
    result = outcome(row("name", "a", person_id="P", value="Ann"), row("same", "b", person_id="P"))
    assert result.sets == (ConfirmedSet(frozenset("ab"), "P", "Ann"),)


def test_different_gives_sets_of_one_face_that_stay_apart():
    result = outcome(row("different", "a b", others="c d"))
    assert list(sets(result)) == ["a", "b", "c", "d"]
    assert apart(result) == {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}


def test_a_later_same_beats_different_between_its_sides_alone():
    result = outcome(row("different", "a b", others="c d"), row("same", "a c"))
    assert list(sets(result)) == ["a c", "b", "d"]
    # b is not c, who is a now; neither is a d; and b and d were never the same side.
    assert apart(result) == {("a c", "b"), ("a c", "d"), ("b", "d")}


def test_same_on_one_side_leaves_the_link():
    result = outcome(row("different", "a b", others="c d"), row("same", "a b"), row("same", "c d"))
    assert apart(result) == {("a b", "c d")}
    result = outcome(
        row("different", "a b", others="c d"),
        row("same", "a b"), row("same", "c d"), row("same", "b d"),
    )  # fmt: skip
    assert list(sets(result)) == ["a b c d"]
    assert apart(result) == set()


def test_a_link_is_the_faces_not_the_sets():
    result = outcome(
        row("same", "a b"), row("different", "a", others="x"), row("different", "b", others="a")
    )
    assert list(sets(result)) == ["a", "b", "x"]
    assert apart(result) == {("a", "x"), ("a", "b")}


def test_a_later_different_splits_and_the_others_keep_the_person():
    result = outcome(
        row("name", "a b c d e", person_id="P", value="Ann"),
        row("cover", "a", person_id="P"),
        row("different", "a b", others="c", person_id="P"),
    )
    assert sets(result) == {
        "a b": ConfirmedSet(frozenset("ab"), left=frozenset("P")),
        "c d e": ConfirmedSet(frozenset("cde"), "P", "Ann"),
    }
    assert apart(result) == {("a b", "c d e")}
    assert result.left == {("a", "P"), ("b", "P")}


def test_a_merge_back_makes_good_a_split():
    result = outcome(
        row("name", "a b c", person_id="P", value="Ann"),
        row("different", "a", others="b c", person_id="P"),
        row("same", "a b", person_id="P"),
    )
    assert result == Corrections((ConfirmedSet(frozenset("abc"), "P", "Ann"),))


def test_a_face_on_both_sides_says_nothing():
    result = outcome(row("different", "a b", others="b c"))
    assert apart(result) == {("a", "c")}
    assert outcome(row("different", "a", others="a")) == Corrections()


def test_people_of_different_names_merge_only_when_somebody_says_so():
    named = [
        row("name", "a b", person_id="P", value="Ann"),
        row("name", "c d", person_id="Q", value="Bob"),
    ]
    result = outcome(*named, row("name", "b c", person_id="Q", value="Bob"))
    assert sets(result) == {
        "a": ConfirmedSet(frozenset("a"), "P", "Ann"),
        "b c d": ConfirmedSet(frozenset("bcd"), "Q", "Bob"),
    }
    assert result.must_differ(0, 1)
    assert result.must_differ(1, 0)
    merged = outcome(*named, row("same", "a c", person_id="Q"))
    assert merged.sets == (ConfirmedSet(frozenset("abcd"), "Q", "Bob"),)
    merged = outcome(*named, row("same", "a c"))
    assert merged.sets == (ConfirmedSet(frozenset("abcd"), "P", "Ann"),)
    merged = outcome(*named, row("same", "a c", person_id="R"))
    assert merged.sets == (ConfirmedSet(frozenset("abcd"), "R", "Ann"),)
    merged = outcome(*named[1:], row("same", "a c", person_id="R"))
    assert merged.sets == (ConfirmedSet(frozenset("acd"), "R", "Bob"),)


def test_people_of_one_name_merge_by_a_shared_face():
    result = outcome(
        row("name", "a b", person_id="P", value="Ann"),
        row("name", "b c", person_id="Q", value="Ann"),
    )
    assert result.sets == (ConfirmedSet(frozenset("abc"), "Q", "Ann"),)


def test_names_without_a_person():
    imported = [row("name", "a b", value="Ann"), row("name", "c", value="Bob")]
    assert sets(outcome(*imported)) == {
        "a b": ConfirmedSet(frozenset("ab"), None, "Ann"),
        "c": ConfirmedSet(frozenset("c"), None, "Bob"),
    }
    result = outcome(*imported, row("name", "b", value="Bob"), row("name", "c b", value="Bo"))
    assert sets(result) == {
        "a": ConfirmedSet(frozenset("a"), None, "Ann"),
        "b c": ConfirmedSet(frozenset("bc"), None, "Bo"),
    }
    # The person that clustering made of them is renamed, whatever part of them it is told with.
    result = outcome(*imported, row("name", "a", person_id="R", value="Anna"))
    assert sets(result)["a b"] == ConfirmedSet(frozenset("ab"), "R", "Anna")


def test_flags_and_covers():
    result = outcome(row("hide", "a b", person_id="P"), row("cover", "b", person_id="P"))
    assert result.sets == (ConfirmedSet(frozenset("ab"), "P", hidden=True, cover="b"),)
    result = outcome(row("hide", "a b", person_id="P"), row("show", "a", person_id="P"))
    assert result.sets == (ConfirmedSet(frozenset("ab"), "P"),)
    assert outcome(row("hide", "", person_id="P")) == Corrections()


def test_a_flag_on_a_person_that_was_merged_goes_to_the_merged_one():
    result = outcome(
        row("name", "a", person_id="P", value="Ann"),
        row("name", "b", person_id="Q", value="Bob"),
        row("same", "a b", person_id="P"),
        row("hide", "b", person_id="Q"),
    )
    assert result.sets == (ConfirmedSet(frozenset("ab"), "P", "Ann", hidden=True),)


def test_a_flag_moves_no_faces():
    result = outcome(
        row("name", "a b", person_id="P", value="Ann"), row("hide", "b c", person_id="Q")
    )
    assert sets(result) == {
        "a b": ConfirmedSet(frozenset("ab"), "P", "Ann"),
        "c": ConfirmedSet(frozenset("c"), "Q", hidden=True),
    }


def test_rejected_faces_are_in_no_set_but_still_join_what_they_joined():
    rows = [
        row("name", "a r", person_id="P", value="Ann"),
        row("same", "r b"),
        row("cover", "r", person_id="P"),
        row("different", "r", others="x"),
        row("not-a-face", "r"),
        row("same", "r a"),
    ]
    result = outcome(*rows)
    assert sets(result)["a b"] == ConfirmedSet(frozenset("ab"), "P", "Ann")
    assert result.rejected == {"r"}
    assert apart(result) == {("a b", "x")}
    assert "a b r" in sets(outcome(*rows, row("undo", value="4")))
    assert outcome(rows[0], row("not-a-face", "a r")).sets == ()


def test_undo():
    rows = history(
        row("same", "a b"), row("undo", value="0"), row("undo", value="1"), row("same", "c d")
    )
    assert undone(rows) == {"1"}
    assert list(sets(resolve(rows))) == ["a b", "c d"]
    assert undone(rows[:2]) == {"0"}
    assert resolve(rows[:2]) == Corrections()


def test_an_undo_of_what_is_unknown_itself_or_later_does_nothing():
    rows = history(
        row("undo", value="2"), row("undo", value="1"), row("same", "a b"), row("undo", value="x")
    )
    assert undone(rows) == {"x"}
    assert list(sets(resolve(rows))) == ["a b"]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="update Facelake"):
        outcome(row("marry", "a b"))
