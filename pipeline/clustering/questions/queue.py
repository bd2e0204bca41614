"""The queue of questions: those whose answers are expected to put most faces right come first."""

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.questions.chances import Chances, Pairs
from pipeline.clustering.questions.halves import Doubt, Doubts, sides
from pipeline.clustering.questions.names import Names
from pipeline.clustering.questions.near import Near
from pipeline.clustering.questions.persons import NOBODY, Clustering, Persons, Vectors
from pipeline.clustering.questions.proposals import (
    LOOK,
    MOST_CHOICES,
    MOST_TOGETHER,
    Groups,
    batches,
    choices,
    single_rates,
)
from pipeline.clustering.questions.question import Candidate, Kind, Progress, Question, question_id
from pipeline.lake.lookup import vectors_by_face
from pipeline.people.answers import apart_now
from pipeline.people.corrections import Constraint, Corrections, undone
from pipeline.people.log import action
from pipeline.people.store import People
from pipeline.people.view import View

# Faces to show: of each side, and of a candidate.
SHOWN, SHOWN_OF_CANDIDATE = 10, 3
# What the notes of answers begin with; by these they are counted.
NOTE = "question:"
# Questions that a form may still answer.
KEPT = 2_000
# Answers that gain less are not worth the time; they are asked all the same, at the end.
WORTH = 0.05


@dataclass(frozen=True, slots=True)
class Learnt:
    """What an answer taught.

    Attributes:
        pairs: logit of the chance of pairs before, and whether they are one.
        names: chance that a typed name is known, and whether it was.
    """

    pairs: tuple[tuple[float, bool], ...] = ()
    names: tuple[tuple[float, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class _Paired:
    """Pairs that may be asked about, batches and choices of them, and what naming gains."""

    pairs: Pairs
    batches: tuple[Pairs, Groups]
    choices: tuple[Pairs, Groups]
    typed: tuple[Floats64, Floats64]


@dataclass
class Queue:
    """The questions of a lake, made new from who is who after each answer.

    Args:
        people: the store.
        now: who is who.
        read: returns the vectors of faces; None: read from the lake.

    Raises:
        ConfigError: nobody has clustered this lake yet.
    """

    people: People
    now: View
    read: Vectors | None = None
    persons: Persons = field(init=False)
    near: Near = field(init=False)
    chances: Chances = field(init=False, default_factory=Chances)
    names: Names = field(init=False, default_factory=Names)
    corrections: Corrections = field(init=False)
    apart: Ints = field(init=False)
    _ranked_pairs: "_Paired | None" = field(init=False, default=None)
    _doubts: Doubts = field(init=False)
    _learnt: dict[str, Learnt] = field(init=False, default_factory=dict)
    _issued: "OrderedDict[str, Question]" = field(init=False, default_factory=OrderedDict)
    _sides: dict[Doubt, tuple[list[str], list[str]] | None] = field(init=False)

    def __post_init__(self) -> None:
        """Read the last clustering, and compare everybody."""
        read = self.read or (lambda faces: vectors_by_face(self.people.lake, faces))
        clustering = Clustering.read(self.people)
        self.persons = Persons(self.people, clustering, read)
        self.persons.refresh(self.now)
        self.near = Near(self.persons)
        self._doubts = Doubts.read(self.people, clustering.threshold.sd)
        self._offer_doubts()
        self._start = self._totals()
        self._take_over()

    @property
    def run_id(self) -> str:
        """The clustering that the questions are about."""
        return self.persons.clustering.run_id

    def refresh(self, now: View) -> None:
        """Take over who is who after corrections; after a clustering, make a new queue instead."""
        self.now = now
        self.near.update(self.persons.refresh(now))
        self._take_over()

    def next(self, n: int = 1, kind: Kind | None = None) -> list[Question]:
        """Return the best questions, at most `n`, the best first."""
        if self.near.more():
            self._ranked_pairs = None
        heap = [
            (-rate, number, name, at)
            for number, (rate, name, at) in enumerate(self._ranked(n, kind))
        ]
        heapq.heapify(heap)
        found: dict[str, Question] = {}
        while heap and len(found) < n:
            _, number, name, at = heapq.heappop(heap)
            question = self._question(name, at)
            if question is None or question.id in found:
                continue
            # Only now are the sides of halves known: others may be worth more.
            if heap and question.rate < -heap[0][0] - 1e-9 and name == "half":
                heapq.heappush(heap, (-question.rate, number, name, at))
            else:
                found[question.id] = question
        for question in found.values():
            self._issued[question.id] = question
        while len(self._issued) > KEPT:
            self._issued.popitem(last=False)
        return list(found.values())

    def find(self, question_id: str) -> Question | None:
        """Return a question that was asked."""
        return self._issued.get(question_id)

    def learn(self, correction: Constraint, learnt: Learnt) -> None:
        """Remember what an answer taught, as long as the correction stands."""
        self._learnt[action(correction)] = learnt

    def progress(self) -> Progress:
        """Return how far somebody has come."""
        rows = self.people.constraints()
        gone = undone(rows)
        answered = {
            action(row) for row in rows if _is_answer(row) and row.constraint_id not in gone
        }
        fit, groups = self._paired.batches
        left = int((groups.rate >= WORTH).sum())
        left += sum(int((rates >= WORTH).sum()) for rates in self._of_halves())
        in_batches = np.zeros(len(self.persons.ids), bool)
        in_batches[fit.second[groups.rows_of(groups.rate >= WORTH)]] = True
        alone = ~in_batches[self.pairs.second] & (single_rates(self.pairs) >= WORTH)
        left += len(np.unique(self.pairs.second[alone]))
        named, persons = self._totals()
        return Progress(
            len(answered), left, max(0, named - self._start[0]), max(0, self._start[1] - persons)
        )

    def _totals(self) -> tuple[int, int]:
        """Return how many faces have a name, and how many persons there are."""
        named = self.persons.faces[self.persons.name != NOBODY].sum()
        return int(named), int((self.persons.faces > 0).sum())

    def _take_over(self) -> None:
        rows = self.people.constraints()
        self.corrections = self.people.corrections()
        gone = undone(rows)
        standing = {action(row) for row in rows if row.constraint_id not in gone}
        learnt = [one for of, one in self._learnt.items() if of in standing]
        self.chances.learn([pair for one in learnt for pair in one.pairs])
        self.names.learn([name for one in learnt for name in one.names])
        slot = self.persons.slot
        pairs = [(slot[a], slot[b]) for a, b in apart_now(self.corrections, self.now)
                 if a in slot and b in slot]  # fmt: skip
        both = np.array(pairs, np.int64).reshape(-1, 2)
        self.apart = np.unique(self.persons.keys(*both.T))
        self._halves, self._unsure = self._doubts.open(self.now)
        for person, faces in list(self._unsure.items()):
            at = slot.get(person)
            if at is not None and self.persons.faces[at] == 2 and len(faces) == 2:
                (a, chance), (b, other) = self._unsure.pop(person)
                self._halves.append(Doubt(person, (a, b), min(chance, other)))
        self._halves = [one for one in self._halves if self._may_ask(one.person_id)]
        self._unsure = {
            person: faces
            for person, faces in self._unsure.items()
            if self._may_ask(person) and self.persons.faces[slot[person]] > len(faces)
        }
        self._sides = {}
        self._ranked_pairs = None
        self._doubtful = self._rates_of_doubts()

    def _offer_doubts(self) -> None:
        """Let those pairs be asked about that clustering found doubtful, whatever else there is."""
        slot = self.persons.slot
        rows = [(slot[a], slot[b], gap) for a, b, gap in self._doubts.apart
                if a in slot and b in slot]  # fmt: skip
        if rows:
            first, second, gaps = zip(*rows, strict=True)
            self.near.offer(np.array(first), np.array(second), np.array(gaps))

    def _may_ask(self, person: str) -> bool:
        slot = self.persons.slot.get(person)
        return slot is not None and bool(self.persons.asked[slot])

    @property
    def pairs(self) -> Pairs:
        """All pairs that anybody may be asked about."""
        return self._paired.pairs

    @property
    def _paired(self) -> "_Paired":
        if self._ranked_pairs is None:
            pairs = self.chances.pairs(self.near, self.apart)
            self._ranked_pairs = _Paired(
                pairs, batches(self.persons, pairs), choices(self.persons, pairs),
                self.names.rates(self.persons, MOST_CHOICES),
            )  # fmt: skip
        return self._ranked_pairs

    def _rates_of_doubts(self) -> tuple[Floats64, Floats64]:
        """Return what each half and each person with unsure faces gains for a click."""
        slot = self.persons.slot
        at = np.array([slot[one.person_id] for one in self._halves], np.int64)
        half = self.persons.faces[at] / 2
        chance = np.array([one.chance for one in self._halves])
        halves = chance * _apart_all(half, half) / (1 + 2 * LOOK)
        asked = [[chance for _, chance in faces[:MOST_TOGETHER]] for faces in self._unsure.values()]
        sums, looked = np.array([sum(one) for one in asked]), np.array([len(one) for one in asked])
        count = self.persons.faces[np.array([slot[one] for one in self._unsure], np.int64)]
        unsure = sums * _apart_all(np.ones(len(count)), count - 1) / (1 + sums + LOOK * looked)
        return halves, unsure

    def _of_halves(self) -> tuple[Floats64, Floats64]:
        """Return what `_rates_of_doubts` does, better where the sides of halves are known."""
        halves, unsure = self._doubtful
        halves = halves.copy()
        for at, doubt in enumerate(self._halves if self._sides else ()):
            if parted := self._sides.get(doubt):
                count = self.persons.faces[self.persons.slot[doubt.person_id]]
                gain = _apart(len(parted[0]), count - len(parted[0]))
                halves[at] = doubt.chance * gain / (1 + 2 * LOOK)
        return halves, unsure

    def _ranked(self, n: int, kind: Kind | None) -> list[tuple[float, str, int]]:
        """Return the best of each sort: rate, sort, and number within the sort."""
        named = self.persons.name[self.pairs.first] != NOBODY
        batch, choice = self._paired.batches[1], self._paired.choices[1]
        single = single_rates(self.pairs)
        sorts = [
            ("same", np.where(named, 0, single), "same"),
            ("who", np.where(named, single, 0), "pair"),
            ("batch", np.where(batch.size > 1, batch.rate, 0), "batch"),
            ("who", np.where(choice.size > 1, choice.rate, 0), "choice"),
        ]  # fmt: skip
        ranked: list[tuple[float, str, int]] = []
        for of_kind, rates, name in sorts:
            if kind in (None, of_kind):
                best = np.argsort(-rates, kind="stable")[: 2 * n]
                ranked += [(float(rates[at]), name, int(at)) for at in best if rates[at] > 0]
        for of_kind, name, rates in zip(
            ("half", "batch"), ("half", "unsure"), self._of_halves(), strict=True
        ):
            if kind in (None, of_kind):
                ranked += [(rate, name, at) for at, rate in enumerate(rates.tolist())]
        if kind in (None, "who"):
            slots = np.flatnonzero(self.persons.asked & (self.persons.name == NOBODY))
            rates = self._paired.typed[0][slots]
            best = np.argsort(-rates, kind="stable")[: 3 * n]
            ranked += [(float(rates[at]), "name", int(slots[at])) for at in best]
        return sorted(ranked, key=lambda one: -one[0])

    def _question(self, name: str, at: int) -> Question | None:
        if name in ("same", "pair"):
            return self._of_pair(at)
        if name == "batch":
            return self._of_batch(at)
        if name == "choice":
            fit, groups = self._paired.choices
            slot = int(fit.second[groups.rows(at)[0]])
            return self._who(slot, float(groups.rate[at]))
        if name == "name":
            return self._who(at, float(self._paired.typed[0][at]))
        return self._of_half(at) if name == "half" else self._of_unsure(at)

    def _of_pair(self, at: int) -> Question:
        first, second = int(self.pairs.first[at]), int(self.pairs.second[at])
        rate = float(single_rates(self.pairs)[at])
        if self.persons.name[first] != NOBODY and self.persons.name[second] == NOBODY:
            return self._who(second, rate)
        a, b = self.persons.ids[first], self.persons.ids[second]
        return Question(
            question_id("same", (a, b)), "same", a, b, self.faces(a), self.faces(b),
            (self._count(first), self._count(second)), (), float(self.pairs.chance[at]),
            float(self.pairs.chance[at] * self.pairs.gain[at]), rate,
        )  # fmt: skip

    def _who(self, slot: int, rate: float) -> Question:
        """Return a question who somebody is, with those who are most like them to choose from."""
        person = self.persons.ids[slot]
        slots, chances = self._most_like(slot)
        candidates = self._candidates(slots, chances)
        gains = _apart_all(float(self.persons.faces[slot]), self.persons.faces[slots])
        return Question(
            question_id("who", [one.key for one in candidates], person), "who", person, None,
            self.faces(person), (), (self._count(slot), 0), candidates, float(chances.sum()),
            float((chances * gains).sum()), rate,
        )  # fmt: skip

    def _most_like(self, slot: int) -> tuple[Ints, Floats64]:
        """Return the persons who somebody may be, and the chance of each, the likeliest first.

        What pairs leave of the chance to be anybody is shared by all who resemble them less.
        """
        persons = self.persons
        fit = persons.asked & ((persons.faces >= 2) | (persons.name != NOBODY))
        fit[slot] = False
        others = np.flatnonzero(fit)
        others = others[~np.isin(persons.keys(others, np.full(len(others), slot)), self.apart)]
        likely = self.near.likeness(slot, others)
        others = others[np.argsort(-likely, kind="stable")]
        chances = np.zeros(len(persons.ids))
        rows = np.flatnonzero((self.pairs.first == slot) | (self.pairs.second == slot))
        chances[self.pairs.first[rows] + self.pairs.second[rows] - slot] = self.pairs.chance[rows]
        known = chances[others]
        known /= max(1.0, known.sum())
        rest = max(0.0, float(self.names.chances(persons)[slot]) - known.sum())
        known += rest / max(1, len(others))
        best = np.argsort(-known, kind="stable")[:MOST_CHOICES]
        return others[best], known[best]

    def _of_batch(self, at: int) -> Question:
        fit, groups = self._paired.batches
        rows = groups.rows(at)
        rows = rows[np.argsort(-fit.chance[rows], kind="stable")]
        first = int(fit.first[rows[0]])
        person = self.persons.ids[first]
        candidates = self._candidates(fit.second[rows], fit.chance[rows])
        about = [one.key for one in candidates]
        return Question(
            question_id("batch", about, person), "batch", person, None, self.faces(person), (),
            (self._count(first), sum(one.count for one in candidates)), candidates,
            float(fit.chance[rows].mean()), float((fit.chance[rows] * fit.gain[rows]).sum()),
            float(groups.rate[at]),
        )  # fmt: skip

    def _candidates(self, slots: Ints, chances: np.ndarray) -> tuple[Candidate, ...]:
        found = []
        for slot, chance in zip(slots.tolist(), chances.tolist(), strict=True):
            person = self.persons.ids[slot]
            shown = self.faces(person)[:SHOWN_OF_CANDIDATE]
            found.append(Candidate(person, person, shown, self._count(slot), chance, chance >= 0.5))
        return tuple(found)

    def _of_half(self, at: int) -> Question | None:
        doubt = self._halves[at]
        if doubt not in self._sides:
            self._sides[doubt] = sides(self.persons, self.now, doubt)
        parted = self._sides[doubt]
        if parted is None:
            return None
        a, b = len(parted[0]), len(parted[1])
        gain = doubt.chance * _apart(a, b)
        return Question(
            question_id("half", doubt.faces), "half", doubt.person_id, doubt.person_id,
            tuple(parted[0][:SHOWN]), tuple(parted[1][:SHOWN]), (a, b), (), 1 - doubt.chance, gain,
            gain / (1 + 2 * LOOK),
        )  # fmt: skip

    def _of_unsure(self, at: int) -> Question:
        person, faces = list(self._unsure.items())[at]
        faces = sorted(faces, key=lambda one: (-one[1], one[0]))[:MOST_TOGETHER]
        known = {face for face, _ in faces}
        candidates = tuple(
            Candidate(face, person, (face,), 1, 1 - chance, chance < 0.5) for face, chance in faces
        )
        count = self._count(self.persons.slot[person])
        chance = sum(chance for _, chance in faces)
        gain = chance * _apart(1, count - 1)
        shown = [face["face_id"] for face in self.now.faces(person)]
        return Question(
            question_id("batch", known), "batch", person, None,
            tuple(face for face in shown if face not in known)[:SHOWN], (),
            (count, len(faces)), candidates, 1 - chance / len(faces), gain,
            gain / (1 + chance + LOOK * len(faces)),
        )  # fmt: skip

    def faces(self, person: str) -> tuple[str, ...]:
        """Return the faces that stand for a person."""
        row = self.now.person(person)
        return tuple(row["exemplars"]) if row else ()

    def known(self, person: str) -> float:
        """Return the chance that a name typed for a person is one that somebody has."""
        return float(self._paired.typed[1][self.persons.slot[person]])

    def _count(self, slot: int) -> int:
        return int(self.persons.faces[slot])


def _apart(a: float, b: float) -> float:
    """Return how many faces are put right when two sides are parted, or joined."""
    return 2 * a * b / max(1.0, a + b)


def _apart_all(a: float | Floats64, b: Floats64) -> Floats64:
    """Return what `_apart` does for several sizes."""
    result: Floats64 = 2 * a * b / np.maximum(1.0, a + b)
    return result


def _is_answer(row: Constraint) -> bool:
    return (row.note or "").startswith(NOTE)
