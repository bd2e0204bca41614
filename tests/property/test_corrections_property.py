import unicodedata
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
from hypothesis import given, settings

from pipeline.people.constraints import MARK, name_key
from pipeline.people.corrections import KINDS, Constraint, Corrections, resolve

FAST = settings(max_examples=100, deadline=None)
START = datetime(2024, 5, 1, tzinfo=UTC)
faces = st.lists(st.sampled_from("abcdefgh"), max_size=4).map(tuple)


@st.composite
def histories(draw, kinds=KINDS):
    """Up to 14 rows; some at the same moment, undos of anything, ids in no order."""
    ids = draw(st.permutations([f"{n:02}" for n in range(14)]))[: draw(st.integers(0, 14))]
    moment = 0
    rows = []
    for name in ids:
        moment += draw(st.integers(0, 1))
        kind = draw(st.sampled_from(kinds))
        value = {"undo": st.sampled_from(ids), "name": st.sampled_from(["Ann", "Bob", ""])}
        person = draw(st.none() | st.sampled_from("PQR"))
        rows.append(
            Constraint(
                name, START + timedelta(seconds=moment), kind, draw(faces),
                draw(faces) if kind == "different" else (), person,
                draw(value[kind]) if kind in value else None,
            )
        )  # fmt: skip
    return rows


def later(rows, *more):
    """Rows after all others; more: (kind, faces, others, value)."""
    return [
        *rows,
        *(
            Constraint(f"z{n:02}", START + timedelta(hours=1, seconds=n), kind, a, b, None, value)
            for n, (kind, a, b, value) in enumerate(more)
        ),
    ]


def place(found):
    return {face: at for at, one in enumerate(found.sets) for face in one.faces}


@FAST
@given(histories())
def test_what_resolves_is_sound(rows):
    corrections = resolve(rows)
    members = [face for one in corrections.sets for face in one.faces]
    assert len(members) == len(set(members)), "a face in two sets"
    assert not corrections.rejected & set(members)
    ids = [one.person_id for one in corrections.sets if one.person_id]
    assert len(ids) == len(set(ids)), "a person in two sets"
    for one in corrections.sets:
        assert one.faces
        assert one.cover is None or one.cover in one.faces
        assert not {(face, one.person_id) for face in one.faces} & corrections.left
        assert one.name != ""
    for a, b in corrections.apart:
        assert 0 <= a < b < len(corrections.sets)
    assert list(corrections.apart) == sorted(set(corrections.apart))


@FAST
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_doubles_do_not_matter(rows, random):
    shuffled = [*rows, *rows[:3]]
    random.shuffle(shuffled)
    assert resolve(shuffled) == resolve(rows)


@FAST
@given(histories())
def test_all_undone_is_nothing(rows):
    rest = [row for row in rows if row.kind != "undo"]
    gone = frozenset(face for row in rest if row.kind == MARK for face in row.faces)
    left = resolve(later(rest, *(("undo", (), (), r.constraint_id) for r in rest)))
    # the row of a mark that was taken back is still to be removed
    assert left == Corrections(rejected=gone, withdrawn=gone)


@FAST
@given(histories(), st.data())
def test_an_undo_is_as_if_it_had_not_been_said_and_can_be_undone(rows, data):
    rest = [row for row in rows if row.kind not in ("undo", MARK)]
    if not rest:
        return
    gone = data.draw(st.sampled_from(rest))
    without = resolve([row for row in rest if row != gone])
    assert resolve(later(rest, ("undo", (), (), gone.constraint_id))) == without
    back = later(rest, ("undo", (), (), gone.constraint_id), ("undo", (), (), "z00"))
    assert resolve(back) == resolve(rest)


@FAST
@given(histories(), faces)
def test_the_last_word_counts(rows, some):
    same = resolve(later(rows, ("same", some, (), None)))
    where = place(same)
    assert len({where[face] for face in some if face in where}) <= 1
    rejected = resolve(later(rows, ("not-a-face", some, (), None)))
    assert set(some) <= rejected.rejected


@FAST
@given(histories(), faces, faces)
def test_the_last_different_keeps_all_pairs_apart(rows, ours, theirs):
    corrections = resolve(later(rows, ("different", ours, theirs, None)))
    where = place(corrections)
    both = set(ours) & set(theirs)
    for a in set(ours) - both - corrections.rejected:
        for b in set(theirs) - both - corrections.rejected:
            assert tuple(sorted((where[a], where[b]))) in corrections.apart


@FAST
@given(histories(kinds=("same",)))
def test_same_alone_is_connected_components(rows):
    groups = [{face} for face in "abcdefgh"]
    by_id = {}
    for row in rows:
        linked = list(row.faces)
        if row.person_id:
            by_id.setdefault(row.person_id, set()).update(linked)
        touched = [group for group in groups if group & set(linked)]
        if touched:
            groups = [g for g in groups if g not in touched] + [set().union(*touched)]
    where = place(resolve(rows))
    for group in groups:
        assert len({where[face] for face in group if face in where}) <= 1


@FAST
@given(histories(kinds=("same", "different", "name")))
def test_names_that_differ_must_differ(rows):
    corrections = resolve(rows)
    for i, a in enumerate(corrections.sets):
        for j, b in enumerate(corrections.sets[:i]):
            if a.name and b.name and a.name != b.name:
                assert corrections.must_differ(i, j)


@FAST
@given(
    st.text(max_size=20), st.sampled_from(["NFC", "NFD"]), st.sampled_from([" ", "\u00a0", "\t"])
)
def test_a_name_has_one_key_however_it_is_spelled(name, form, space):
    key = name_key(name)
    assert name_key(key) == key
    assert name_key(unicodedata.normalize(form, name)) == key
    assert name_key(name.replace(" ", 2 * space)) == key
    assert name_key(f"{space}{name}{space}") == key
