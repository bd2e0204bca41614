"""Questions to somebody who knows the people: what is asked, and what it is worth."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["same", "who", "half", "batch"]
KINDS: tuple[Kind, ...] = ("same", "who", "half", "batch")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody, or one face, that may belong to the person of a question.

    Attributes:
        key: id of the person, or of the face; what an answer names.
        person_id: whom the faces are of now; the person of the question for a doubtful face.
        faces: some of them, to show.
        count: of all its faces.
        probability: that it belongs.
        ticked: whether the page proposes it.
    """

    key: str
    person_id: str
    faces: tuple[str, ...]
    count: int
    probability: float
    ticked: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        id: the same whenever the same is asked.
        kind: `same`: are `left` and `right` one person? `who`: is `left` one of `candidates`, or
            what is the name? `half`: do `left_faces` and `right_faces` of the person `left` belong
            together? `batch`: which of `candidates` are `left`?
        left, right: persons.
        left_faces, right_faces: faces to show of both sides.
        counts: faces of both sides.
        candidates: of `who`, the likeliest first; of `batch`, the likeliest first.
        probability: that the answer is yes, of a batch that of its candidates on average.
        gain: faces that an answer is expected to put right, in terms of BCubed.
        rate: what is expected for each click, by which questions are ordered.
    """

    id: str
    kind: Kind
    left: str
    right: str | None = None
    left_faces: tuple[str, ...] = ()
    right_faces: tuple[str, ...] = ()
    counts: tuple[int, int] = (0, 0)
    candidates: tuple[Candidate, ...] = ()
    probability: float = 0.0
    gain: float = 0.0
    rate: float = 0.0

    @property
    def ticked(self) -> tuple[str, ...]:
        """Keys of the candidates that are proposed."""
        return tuple(one.key for one in self.candidates if one.ticked)


def question_id(kind: Kind, about: Iterable[str], left: str = "") -> str:
    """Return the id of a question about persons or faces in any order, and who they may be."""
    text = "/".join([kind, left, *sorted(about)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far somebody has come.

    Attributes:
        answered: questions answered, those whose answer was taken back left out.
        left: questions that are still worth an answer.
        named: faces that got a name since the pages were started.
        joined: persons fewer than then.
    """

    answered: int
    left: int
    named: int
    joined: int
