"""The queue of questions: what is asked, what answers do, and that the truth comes out."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.questions.answering import answer, name, take_back
from pipeline.clustering.questions.question import question_id
from pipeline.clustering.questions.queue import Queue
from pipeline.clustering.run import Run
from pipeline.errors import ConfigError
from pipeline.lake.checkpoints import in_process
from pipeline.people import actions
from pipeline.people.answers import different
from pipeline.people.log import undo
from pipeline.people.view import view
from tests.support import lakes

PEOPLE, EACH = 8, 6


def cluster(people, run_id="run", **config):
    Run(people, ClusterConfig(full=True, **config), in_process, run_id).cluster()


def queue_of(people):
    return Queue(people, view(people))


@pytest.fixture
def torn(tmp_path):
    """A lake whose people are torn to pieces by a threshold that is far too high; and the truth."""
    vectors, label = lakes.archive(PEOPLE, EACH, seed=3)
    people = lakes.make(tmp_path / "lake", vectors)
    cluster(people, threshold=0.72)
    truth = {lakes.face_id(f"f{i}"): int(one) for i, one in enumerate(label)}
    return people, truth


@pytest.fixture
def sisters(tmp_path):
    """A lake in which two sisters are one person, and three others."""
    others, label = lakes.archive(3, EACH, seed=5)
    people = lakes.make(tmp_path / "lake", np.concatenate([lakes.two_people(EACH), others]))
    cluster(people, threshold=0.3)
    every = np.concatenate([np.repeat([10, 11], EACH), label])
    return people, {lakes.face_id(f"f{i}"): int(one) for i, one in enumerate(every)}


def groups(people):
    """Return who is with whom, and the names, corrections included."""
    now = view(people)
    rows = now.people.to_pylist()
    return {
        (frozenset(face["face_id"] for face in now.faces(row["person_id"])), row["name"])
        for row in rows
    }


def truly(queue, question, truth):
    """Answer a question truthfully, by the faces it shows; return what was done."""
    who = truth[question.left_faces[0]]
    if question.kind in ("same", "half"):
        same = who == truth[question.right_faces[0]]
        return answer(queue, question, "yes" if same else "no")
    right = [one.key for one in question.candidates if truth[one.faces[0]] == who]
    if question.kind == "batch":
        return answer(queue, question, "yes" if right else "no", right)
    if right:
        return answer(queue, question, "yes", right[:1])
    return name(queue, question, f"Person {who}")


def review(people, truth, most=400):
    """Answer until nothing is asked any more; return the questions."""
    queue, asked = queue_of(people), []
    for _ in range(most):
        found = queue.next(1)
        if not found:
            return asked
        asked.append(found[0])
        truly(queue, found[0], truth)
        queue.refresh(view(people))
    raise AssertionError("the questions do not end")


def true_groups(truth):
    return {frozenset(f for f, one in truth.items() if one == who) for who in set(truth.values())}


def test_answers_lead_to_the_truth(torn):
    people, truth = torn
    assert len(groups(people)) > PEOPLE
    asked = review(people, truth)
    assert {faces for faces, _ in groups(people)} == true_groups(truth)
    ids = [one.id for one in asked]
    assert len(ids) == len(set(ids)), "an answered question does not come back"
    names = [one for _, one in groups(people)]
    assert None not in names
    assert len(set(names)) == PEOPLE


def test_they_last_through_clustering(torn):
    people, truth = torn
    review(people, truth)
    cluster(people, "again", threshold=0.72)
    assert {faces for faces, _ in groups(people)} == true_groups(truth)
    assert queue_of(people).next(1) == []


def test_two_in_one_are_found(sisters):
    people, truth = sisters
    halves = queue_of(people).next(5, "half")
    assert halves, "clustering doubts that the sisters are one person"
    sides = [{truth[face] for face in side}
             for side in (halves[0].left_faces, halves[0].right_faces)]  # fmt: skip
    assert sorted(sides, key=min) == [{10}, {11}]
    queue = queue_of(people)
    truly(queue, queue.next(1, "half")[0], truth)
    assert {faces for faces, _ in groups(people)} == true_groups(truth)
    queue.refresh(view(people))
    assert queue.next(1, "half") == []


def test_one_person_in_halves_is_confirmed(sisters):
    people, _ = sisters
    queue = queue_of(people)
    answer(queue, queue.next(1, "half")[0], "yes")
    queue.refresh(view(people))
    assert queue.next(1, "half") == []


def test_a_batch_is_confirmed_but_for_who_was_unticked(torn):
    people, _ = torn
    queue = queue_of(people)
    question = max(queue.next(10, "batch"), key=lambda one: len(one.candidates))
    keys = [one.key for one in question.candidates]
    assert len(keys) > 1
    out = keys[0]
    own = {row["face_id"] for row in queue.now.faces(out)}
    answer(queue, question, "yes", keys[1:])
    now = view(people)
    persons = now.persons_of([question.left_faces[0], *own])
    assert persons.pop(question.left_faces[0]) not in persons.values()
    for key in keys[1:]:
        assert now.merged.get(key, key) == now.merged.get(question.left, question.left) or (
            now.person(key) is not None
        )
    queue.refresh(now)
    pairs = {frozenset((one.left, key.key)) for one in queue.next(50, "batch")
             for key in one.candidates}  # fmt: skip
    assert frozenset((question.left, out)) not in pairs, "told apart"


def test_questions_come_in_the_order_of_what_they_gain(torn):
    people, _ = torn
    found = queue_of(people).next(20)
    rates = [one.rate for one in found]
    assert rates == sorted(rates, reverse=True)
    assert all(0 <= one.probability <= 1 for one in found)
    assert len({one.id for one in found}) == len(found)
    assert queue_of(people).next(20) == found, "the same at each look"


def test_names_and_what_was_told_apart_are_never_asked(torn):
    people, _ = torn
    queue = queue_of(people)
    pair = queue.next(1, "same")[0]
    actions.name(people, pair.left, "Ann")
    actions.name(people, pair.right, "Bea")
    other = next(one for one in queue.next(10, "same") if pair.left not in (one.left, one.right))
    different(people, other.left, other.right)
    queue.refresh(view(people))
    asked = set()
    for kind in ("same", "who", "batch"):
        for one in queue.next(200, kind):
            persons = [one.right] if one.right else [c.person_id for c in one.candidates]
            asked |= {frozenset((one.left, person)) for person in persons}
    assert frozenset((pair.left, pair.right)) not in asked
    assert frozenset((other.left, other.right)) not in asked


def test_hidden_people_are_not_asked_about(torn):
    people, _ = torn
    queue = queue_of(people)
    hidden = queue.next(1, "same")[0].left
    actions.hide(people, [hidden])
    queue.refresh(view(people))
    for one in queue.next(200):
        assert hidden not in (one.left, one.right, *(c.person_id for c in one.candidates))


@settings(max_examples=8, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6))
def test_an_undo_restores_who_is_who(torn, choices):
    """Whatever is asked and answered: the undo of an action restores the view exactly."""
    people, truth = torn
    queue = queue_of(people)
    for choice in choices:
        found = queue.next(1 + choice % 5, (None, "same", "who", "batch")[choice % 4])
        if not found:
            continue
        question, before = found[-1], groups(people)
        keys = [one.key for one in question.candidates]
        if question.kind == "who" and not keys:
            done = name(queue, question, f"Name {choice}")
        elif choice % 3:
            chosen = keys[:1] if question.kind == "who" else keys[: 1 + choice % 7]
            done = answer(queue, question, "yes", chosen)
        else:
            done = answer(queue, question, "no")
        undo(people, done.correction.constraint_id)
        assert groups(people) == before
        queue.refresh(view(people))
        if question.kind == "same":
            again = {one.id for one in queue.next(300, "same")}
            assert question.id in again, "it is open again"
        truly(queue, question, truth)
        queue.refresh(view(people))


def test_a_queue_that_took_over_answers_is_like_a_new_one(torn):
    people, truth = torn
    queue = queue_of(people)
    for _ in range(6):
        truly(queue, queue.next(1)[0], truth)
        queue.refresh(view(people))
    moved = next(iter(queue.now.faces(queue.persons.ids[0])), None)
    if moved:
        target = next(p for p in queue.now.people["person_id"].to_pylist()
                      if p != queue.persons.ids[0])  # fmt: skip
        actions.move(people, [moved["face_id"]], target)
        queue.refresh(view(people))
    fresh = queue_of(people)
    for person, slot in fresh.persons.slot.items():
        if fresh.persons.asked[slot]:
            same = queue.persons.slot[person]
            np.testing.assert_allclose(queue.persons.means[same], fresh.persons.means[slot],
                                       atol=1e-5)  # fmt: skip
            assert queue.persons.counts[same] == fresh.persons.counts[slot]


def three_alone(folder, cosine):
    """A lake of strangers, and three faces of somebody that are as similar to each other."""
    strangers, _ = lakes.archive(60, 1, seed=8)
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((128, 4)))[0].T
    own = cosine**0.5 * basis[3] + (1 - cosine) ** 0.5 * basis[:3]
    people = lakes.make(folder, np.concatenate([own, strangers]).astype(np.float32))
    cluster(people)
    return people


def test_who_clearly_belongs_follows(tmp_path):
    people = three_alone(tmp_path / "first", 0.3)
    threshold = queue_of(people).persons.clustering.threshold
    alone, joined = float(threshold.cosine(1, 1)), float(threshold.cosine(1, 2))
    assert joined < alone - 0.03, "two faces of somebody need less than one"
    people = three_alone(tmp_path / "second", alone - 0.015)
    three = [lakes.face_id(f"f{i}") for i in range(3)]
    before = groups(people)
    assert len(set(view(people).persons_of(three).values())) == 3, "apart at first"
    queue = queue_of(people)
    while queue.near.more():
        pass
    queue.refresh(queue.now)
    persons = set(queue.now.persons_of(three).values())
    question = next(one for one in queue.next(99, "same") if {one.left, one.right} <= persons)
    done = answer(queue, question, "yes")
    assert len(done.followed) == 1
    assert len(set(view(people).persons_of(three).values())) == 1
    take_back(people, next(iter(done.followed)))
    now = view(people)
    assert len(set(now.persons_of(three).values())) == 2
    assert now.merged[question.right] == question.left
    with pytest.raises(ConfigError, match="already"):
        take_back(people, next(iter(done.followed)))
    undo(people, done.correction.constraint_id)
    assert groups(people) == before


@pytest.mark.parametrize("how", ["told apart", "named", "hidden"])
def test_nobody_follows_against_a_correction(tmp_path, how):
    people = three_alone(tmp_path / "first", 0.3)
    threshold = queue_of(people).persons.clustering.threshold
    people = three_alone(tmp_path / "second", float(threshold.cosine(1, 1)) - 0.015)
    a, b, c = view(people).persons_of([lakes.face_id(f"f{i}") for i in range(3)]).values()
    if how == "told apart":
        different(people, b, c)
    elif how == "named":
        actions.name(people, a, "Ann")
        actions.name(people, c, "Cleo")
    else:
        actions.hide(people, [c])
    queue = queue_of(people)
    question = next(one for one in queue.next(50) if {one.left, one.right or "", *(
        k.key for k in one.candidates)} >= {a, b})  # fmt: skip
    done = answer(queue, question, "yes", [k.key for k in question.candidates if k.key in (a, b)])
    assert done.followed == {}


def test_answers_that_make_no_sense(torn):
    people, _ = torn
    queue = queue_of(people)
    question = queue.next(1, "same")[0]
    with pytest.raises(ConfigError, match="does not fit"):
        answer(queue, question, "perhaps")
    with pytest.raises(ConfigError, match="does not fit"):
        answer(queue, question, "yes", ["somebody"])
    who = queue.next(1, "who")[0]
    with pytest.raises(ConfigError):
        answer(queue, who, "yes", [])
    with pytest.raises(ConfigError, match="empty"):
        name(queue, who, "  ")
    answer(queue, question, "yes")
    queue.refresh(view(people))
    with pytest.raises(ConfigError, match="not there any more"):
        answer(queue, question, "yes")
    with pytest.raises(ConfigError, match="has this id"):
        take_back(people, "0" * 32)


def test_progress(torn):
    people, truth = torn
    queue = queue_of(people)
    start = queue.progress()
    assert (start.answered, start.named, start.joined) == (0, 0, 0)
    assert start.left > 0
    done = truly(queue, queue.next(1, "batch")[0], truth)
    queue.refresh(view(people))
    actions.name(people, queue.persons.ids[int(queue.persons.faces.argmax())], "Ann")
    queue.refresh(view(people))
    after = queue.progress()
    assert after.answered == 1
    assert after.joined > 0
    assert after.named == int(queue.persons.faces.max())
    undo(people, done.correction.constraint_id)
    assert queue.progress().answered == 0


def test_an_id_does_not_depend_on_order():
    assert question_id("same", ("a", "b")) == question_id("same", ("b", "a"))
    assert question_id("same", ("a", "b")) != question_id("who", ("a", "b"))
