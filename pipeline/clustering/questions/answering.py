"""Answers become corrections, with what follows: one action, which one undo takes back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.clustering.questions.follow import followers_of
from pipeline.clustering.questions.halves import Doubt, sides
from pipeline.clustering.questions.persons import NOBODY
from pipeline.clustering.questions.question import Question
from pipeline.clustering.questions.queue import NOTE, Learnt, Queue
from pipeline.errors import ConfigError
from pipeline.people import actions
from pipeline.people.answers import parting, together
from pipeline.people.corrections import Constraint, undone
from pipeline.people.log import Statement, append
from pipeline.people.store import People

YES, NO = "yes", "no"
# What the notes of corrections that followed from others end with.
FOLLOWED = "followed"


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer did.

    Attributes:
        correction: the last of the action; its id undoes all of it.
        faces: that changed person, or were confirmed.
        followed: persons who followed, by the id of the correction that `take_back` takes.
    """

    correction: Constraint
    faces: int
    followed: dict[str, str]


def answer(queue: Queue, question: Question, verdict: str, chosen: Sequence[str] = ()) -> Answered:
    """Take an answer to a question, and what follows from it.

    Args:
        queue: that asked, up to date.
        question: of it.
        verdict: `yes` or `no`; of a batch `yes`, whoever is not chosen is told apart.
        chosen: of `who`, the key of the candidate; of `batch`, keys of all that belong.

    Raises:
        ConfigError: the answer does not fit the question, or somebody is not there any more.
    """
    known = {one.key: one for one in question.candidates}
    if verdict not in (YES, NO) or not set(chosen) <= known.keys():
        raise ConfigError("The answer does not fit the question; load the page again")
    note = f"{NOTE} {question.kind} {verdict}"
    if question.kind == "half":
        return _half(queue, question, verdict == YES, note)
    if question.kind == "batch" and any(one.person_id == question.left
                                        for one in question.candidates):  # fmt: skip
        return _unsure(queue, question, set(chosen) if verdict == YES else set(), note)
    if question.kind == "batch":
        taken = list(chosen) if verdict == YES else []
        return _join(queue, [question.left, *taken], [(question.left, one) for one in known
                                                      if one not in taken], note)  # fmt: skip
    if question.kind == "who":
        if verdict == NO:
            return _join(queue, [], [(one, question.left) for one in known], note)
        if len(chosen) != 1:
            raise ConfigError("Somebody is one person; choose one of those that are shown")
        others = [(one, question.left) for one in known if one != chosen[0]]
        return _join(queue, [chosen[0], question.left], [], note, others)
    assert question.right is not None
    both = (question.left, question.right)
    return _join(queue, list(both) if verdict == YES else [], [] if verdict == YES else [both],
                 note)  # fmt: skip


def name(queue: Queue, question: Question, text: str) -> Answered:
    """Give a name to the person of a question; if somebody has it, the two are one.

    Raises:
        ConfigError: the name cannot be one, or the person is not there any more.
    """
    text, person = actions.checked_name(text), question.left
    if person not in queue.persons.slot:
        raise ConfigError(f"Person {person[:8]} is not there any more; load the page again")
    others = [one for one in queue.now.called(text) if one != person]
    known, note = queue.known(person), f"{NOTE} name"
    shown = [(one.key, person) for one in question.candidates
             if one.key in queue.persons.slot and one.key not in others]  # fmt: skip
    if others:
        answered = _join(queue, [others[0], person], [], note)
    else:
        correction = actions.name(queue.people, person, text, note)
        answered = Answered(correction, question.counts[0], {})
    names = ((known, bool(others)),) if known > 0 else ()
    learnt = Learnt(_learnt(queue, [], shown).pairs, names)
    queue.learn(answered.correction, learnt)
    return answered


def take_back(people: People, constraint_id: str, note: str | None = None) -> Constraint:
    """Take back one thing that followed from an answer, and leave the rest of the action.

    Raises:
        ConfigError: nothing of this id followed, or it is taken back already.
    """
    rows = people.constraints()
    row = next((row for row in rows if row.constraint_id == constraint_id), None)
    if row is None or not (row.note or "").startswith(NOTE) or row.kind != "same":
        raise ConfigError("Nothing that followed from an answer has this id; load the page again")
    if constraint_id in undone(rows):
        raise ConfigError("This is taken back already; nothing was changed")
    return append(people, [Statement("undo", value=constraint_id)], note)


def _join(
    queue: Queue, joined: list[str], apart: list[tuple[str, str]], note: str,
    others: Sequence[tuple[str, str]] = (),
) -> Answered:  # fmt: skip
    """Join persons, tell others apart, and let follow who clearly belongs to the joined ones.

    From pairs of `others` only the chances learn.
    """
    now, slot = queue.now, queue.persons.slot
    people = [*joined, *(one for pair in apart for one in pair)]
    if gone := [one for one in people if now.person(one) is None or one not in slot]:
        raise ConfigError(f"Person {gone[0][:8]} is not there any more; load the page again")
    learnt = _learnt(queue, [(joined[0], one) for one in joined[1:]], [*apart, *others])
    statements: list[Statement] = []
    followed: list[str] = []
    if len(joined) > 1:
        lead = _leading(queue, joined)
        statements.append(actions.merging(now, lead))
        slots = [slot[one] for one in joined]
        told = [queue.persons.keys(np.array([slot[a]]), np.array([slot[b]])) for a, b in apart]
        keys = np.concatenate([queue.apart, *told])
        for at in followers_of(queue.persons, slots, keys):
            followed.append(queue.persons.ids[at])
            statements.append(actions.merging(now, [lead[0], followed[-1]]))
    statements += [parting(now, a, b) for a, b in apart]
    if not statements:
        raise ConfigError("Nothing was chosen; tick somebody, or skip the question")
    before = len(followed)
    correction = append(queue.people, statements, note)
    queue.learn(correction, learnt)
    faces = sum(int(queue.persons.faces[slot[one]]) for one in [*joined[1:], *followed])
    ids = _ids(correction, len(statements))
    of = {ids[1 + at]: followed[at] for at in range(before)}
    return Answered(correction, faces, of)


def _leading(queue: Queue, joined: list[str]) -> list[str]:
    """Return persons in the order in which they keep their id: who has a name, then the largest."""
    persons = queue.persons

    def rank(person: str) -> tuple[bool, float]:
        slot = persons.slot[person]
        return persons.name[slot] == NOBODY, -float(persons.faces[slot])

    return sorted(joined, key=rank)


def _learnt(queue: Queue, yes: list[tuple[str, str]], no: list[tuple[str, str]]) -> Learnt:
    """Return what pairs of persons teach who are one, and who are not."""
    slot, pairs = queue.persons.slot, queue.pairs
    taught = []
    for (a, b), one in [*((pair, True) for pair in yes), *((pair, False) for pair in no)]:
        keys = queue.persons.keys(pairs.first, pairs.second)
        at = np.flatnonzero(keys == queue.persons.keys(np.array(slot[a]), np.array(slot[b])))
        if len(at):
            taught.append((float(pairs.logit[at[0]]), one))
    return Learnt(tuple(taught))


def _half(queue: Queue, question: Question, same: bool, note: str) -> Answered:
    """Keep both sides of a person together, or part them with all their faces."""
    person, first, second = question.left, question.left_faces, question.right_faces
    if same:
        correction = together(queue.people, person, [*first, *second], note)
        return Answered(correction, sum(question.counts), {})
    doubt = Doubt(person, (first[0], second[0]), 1 - question.probability)
    parted = sides(queue.persons, queue.now, doubt)
    if parted is None:
        raise ConfigError("These faces are not of one person any more; load the page again")
    stay = [face for face in first if face in parted[0]]
    correction = actions.split(queue.people, person, parted[1], note, None, stay)
    return Answered(correction, len(parted[1]), {})


def _unsure(queue: Queue, question: Question, chosen: set[str], note: str) -> Answered:
    """Confirm faces of a person, and take out the others, each for itself."""
    out = [one.key for one in question.candidates if one.key not in chosen]
    stay = [one.key for one in question.candidates if one.key in chosen]
    where = queue.now.persons_of([*out, *stay])
    if any(where.get(face) != question.left for face in [*out, *stay]):
        raise ConfigError("These faces are not of one person any more; load the page again")
    anchors = [face for face in actions.anchors(queue.now, question.left) if face not in set(out)]
    anchors = list(dict.fromkeys([*anchors, *question.left_faces]))[: actions.ANCHORS]
    row = queue.now.person(question.left)
    statements = []
    if row and row["name"] and not queue.now.confirmed.get(question.left, frozenset()) - set(out):
        statements.append(Statement("name", anchors, (), question.left, row["name"]))
    if stay:
        statements.append(Statement("same", [*anchors, *stay], (), question.left))
    statements += [Statement("different", [face], anchors, question.left) for face in out]
    return Answered(append(queue.people, statements, note), len(out) + len(stay), {})


def _ids(last: Constraint, count: int) -> list[str]:
    """Return the ids of the corrections of an action, by its last one."""
    head, place = last.constraint_id[:-4], int(last.constraint_id[-4:], 16)
    return [f"{head}{place - count + 1 + at:04x}" for at in range(count)]
