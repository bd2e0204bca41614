"""Actions: what somebody does to people, each one file of corrections that can be taken back.

A correction names a person by its anchors: the exemplars and the faces confirmed before. Every
action returns the last correction that it appended; its id, or that of any other correction of the
same action, undoes the whole action.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

from pipeline.errors import ConfigError
from pipeline.lake.lookup import vectors_by_face
from pipeline.people.corrections import Constraint
from pipeline.people.followers import Parting, part
from pipeline.people.log import Statement, append, new_id, undo
from pipeline.people.store import People
from pipeline.people.view import View, view
from pipeline.storage.folder import visible

__all__ = [
    "a_face",
    "cover",
    "followers",
    "hide",
    "merge",
    "move",
    "name",
    "not_a_face",
    "split",
    "undo",
    "unhide",
    "unname",
]

# Enough to find a person again when most of them are gone, few enough for a table of corrections
# that stays small.
ANCHORS = 64
# Of each person that is merged, the most central ones: more hold together by themselves.
MOST_MERGED = 2_000
# Of those that are taken out of a person, and of the others; the rest is left to clustering.
MOST_COMPARED = 2_000
LONGEST_NAME = 200
# Control characters, halves of characters, and line breaks; and what makes a terminal or a page
# show text in another order than it is. Joiners inside words are fit: Persian names need them.
UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
REORDERING = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
# Code points that never are characters (Unicode, section 23.7). XML cannot hold all of them.
NO_CHARACTERS = frozenset(
    map(chr, (*range(0xFDD0, 0xFDF0), *(n + k for n in range(0, 0x110000, 0x10000)
                                        for k in (0xFFFE, 0xFFFF))))
)  # fmt: skip


def name(people: People, person_id: str, text: str, note: str | None = None) -> Constraint:
    """Call a person `text`.

    Raises:
        ConfigError: there is no such person, or the name cannot be one.
    """
    text = checked_name(text)
    now = view(people)
    _person(now, person_id)
    return append(people, [Statement("name", anchors(now, person_id), (), person_id, text)], note)


def unname(people: People, person_id: str, note: str | None = None) -> Constraint:
    """Take a person's name away."""
    now = view(people)
    _person(now, person_id)
    return append(people, [Statement("name", anchors(now, person_id), (), person_id, "")], note)


def merge(
    people: People, person_ids: Sequence[str], note: str | None = None, called: str | None = None
) -> Constraint:
    """Make persons one, who keeps the id and the name of the first, or gets the name `called`.

    All their faces are stated to be one person, not just their anchors: persons who had to be
    merged by hand look so different that clustering would leave the other faces behind.

    Raises:
        ConfigError: fewer than two, or no such person.
    """
    now = view(people)
    statements = [merging(now, person_ids)]
    if called is not None:
        first = person_ids[0]
        statements.append(Statement("name", anchors(now, first), (), first, checked_name(called)))
    return append(people, statements, note)


def merging(now: View, person_ids: Sequence[str]) -> Statement:
    """Return what `merge` says; see there."""
    ids = list(dict.fromkeys(person_ids))
    if len(ids) < 2:
        raise ConfigError("Merging needs two different persons; give the id or name of each")
    for person_id in ids:
        _person(now, person_id)
    faces = [
        face
        for person_id in ids
        for face in [
            *anchors(now, person_id),
            *(row["face_id"] for row in now.faces(person_id)[:MOST_MERGED]),
        ]
    ]
    return Statement("same", list(dict.fromkeys(faces)), (), ids[0])


def split(
    people: People,
    person_id: str,
    face_ids: Sequence[str],
    note: str | None = None,
    called: str | None = None,
    apart: Sequence[str] | None = None,
) -> Constraint:
    """Take faces out of a person: they are one other person, who is new and gets an id for good.

    The returned correction's `person_id` is the new person, who gets the name `called`. No other
    face follows; see `followers`. `apart` are faces of which somebody said that they stay; None:
    those that are clearly less like the ones taken out.

    Raises:
        ConfigError: no such person; faces that are not theirs; none of theirs would be left; a
            name that cannot be one.
    """
    text = None if called is None else checked_name(called)
    now = view(people)
    person = _person(now, person_id)
    faces = _own_faces(now, person, face_ids)
    statements = _take_out(people, now, person, faces, apart)
    if statements is None:
        raise ConfigError(
            f"These are all faces of {_label(person)}, nobody would be left; to rename the "
            "person use name, to move all faces use merge"
        )
    kind = "same" if text is None else "name"
    return append(people, [*statements, Statement(kind, faces, (), new_id(), text)], note)


def move(
    people: People, face_ids: Sequence[str], to_person: str, note: str | None = None,
    apart: Sequence[str] | None = None,
) -> Constraint:  # fmt: skip
    """Say that faces are another person, wherever they are now; `apart` as for `split`.

    Raises:
        ConfigError: no such person or face, or all faces are theirs already.
    """
    now = view(people)
    _person(now, to_person)
    if rejected := [face for face in face_ids if face in now.rejected]:
        raise ConfigError(
            f"{_list(rejected)} rejected as no face; undo that first, see `facelake people LAKE "
            "history`"
        )
    persons = _persons_of(now, list(dict.fromkeys(face_ids)))
    moving = [face for face, person in persons.items() if person != to_person]
    if not moving:
        raise ConfigError(f"The faces are of {to_person} already; nothing was changed")
    statements: list[Statement] = []
    for former in sorted({p for face in moving if (p := persons[face]) is not None}):
        leaving = [face for face in moving if persons[face] == former]
        statements += _take_out(people, now, _person(now, former), leaving, apart) or []
    target = [face for face in anchors(now, to_person) if face not in moving]
    target += [face for face in _told_apart(people, now, moving, to_person) if face not in target]
    statements.append(Statement("same", [*moving, *target], (), to_person))
    return append(people, statements, note)


def not_a_face(people: People, face_ids: Sequence[str], note: str | None = None) -> Constraint:
    """Reject faces: they are no faces, or of nobody who matters.

    Raises:
        ConfigError: an unknown face.
    """
    faces = list(_persons_of(view(people), list(dict.fromkeys(face_ids))))
    return append(people, [Statement("not-a-face", faces)], note)


def a_face(people: People, face_ids: Sequence[str], note: str | None = None) -> Constraint:
    """Take rejected faces back: they are faces after all.

    Raises:
        ConfigError: an unknown face, or one that was not rejected.
    """
    now = view(people)
    faces = list(_persons_of(now, list(dict.fromkeys(face_ids))))
    if standing := [face for face in faces if face not in now.rejected]:
        raise ConfigError(f"{_list(standing)} not rejected; nothing was changed")
    return append(people, [Statement("a-face", faces)], note)


def hide(people: People, person_ids: Sequence[str], note: str | None = None) -> Constraint:
    """Hide persons from lists."""
    return _flag(people, "hide", person_ids, note)


def unhide(people: People, person_ids: Sequence[str], note: str | None = None) -> Constraint:
    """Show hidden persons again."""
    return _flag(people, "show", person_ids, note)


def _flag(people: People, kind: str, person_ids: Sequence[str], note: str | None) -> Constraint:
    if not person_ids:
        raise ConfigError("Nobody was named; give the id or name of a person")
    now = view(people)
    return append(
        people, [Statement(kind, anchors(now, one), (), one) for one in dict.fromkeys(person_ids)],
        note,
    )  # fmt: skip


def cover(people: People, person_id: str, face_id: str, note: str | None = None) -> Constraint:
    """Choose the face that stands for a person.

    Raises:
        ConfigError: no such person, or the face is not theirs.
    """
    now = view(people)
    person = _person(now, person_id)
    if _persons_of(now, [face_id])[face_id] != person_id:
        raise ConfigError(
            f"Face {visible(face_id)} is not of {_label(person)}; move it there first, or choose "
            f"one of `facelake people LAKE show {person_id}`"
        )
    faces = [face_id, *(face for face in anchors(now, person_id) if face != face_id)]
    return append(people, [Statement("cover", faces[:ANCHORS], (), person_id)], note)


def anchors(now: View, person_id: str) -> list[str]:
    """Return the faces that stand for a person, at most `ANCHORS`, exemplars first."""
    person = _person(now, person_id)
    confirmed = sorted(now.confirmed.get(person_id, ()))
    faces = [face for face in [*person["exemplars"], *confirmed] if face not in now.rejected]
    return list(dict.fromkeys(faces))[:ANCHORS]


def checked_name(text: str) -> str:
    """Return a name without space around it.

    Raises:
        ConfigError: it is empty, too long, or holds control characters or noncharacters.
    """
    stripped = text.strip()
    if not stripped:
        raise ConfigError("The name is empty; give one, or take a name away with name --remove")
    if len(stripped) > LONGEST_NAME:
        raise ConfigError(
            f"The name has {len(stripped)} characters; at most {LONGEST_NAME} are kept, shorten it"
        )
    if any(unicodedata.category(c) in UNFIT or c in REORDERING | NO_CHARACTERS for c in stripped):
        raise ConfigError(
            f"The name {visible(stripped)!r} holds control characters, or code points that are no "
            "characters; leave them out"
        )
    return stripped


def followers(people: People, person_id: str, face_ids: Sequence[str]) -> Parting:
    """Return which other faces of a person look like going along with some, and which stay.

    Raises:
        ConfigError: no such person, or faces that are not theirs.
    """
    now = view(people)
    faces = _own_faces(now, _person(now, person_id), face_ids)
    return _parting(people, _others(now, person_id, faces), faces)


def _own_faces(now: View, person: dict[str, Any], face_ids: Sequence[str]) -> list[str]:
    """Return faces of a person, each once."""
    faces, person_id = list(dict.fromkeys(face_ids)), person["person_id"]
    if strangers := [face for face, p in _persons_of(now, faces).items() if p != person_id]:
        raise ConfigError(
            f"{_list(strangers)} not of {_label(person)}; `facelake people LAKE show "
            f"{person_id}` lists theirs"
        )
    return faces


def _told_apart(people: People, now: View, faces: Sequence[str], person_id: str) -> list[str]:
    """Return the faces of a person of which somebody said that they are not that of `faces`."""
    corrections = people.corrections()
    theirs = {i for i, one in enumerate(corrections.sets) if one.faces & set(faces)}
    others = {
        face
        for pair in corrections.apart
        for one, other in (pair, pair[::-1])
        if one in theirs
        for face in corrections.sets[other].faces
    }
    where = now.persons_of(sorted(others))
    return [face for face, person in where.items() if person == person_id]


def _others(now: View, person_id: str, faces: Sequence[str]) -> list[str]:
    """Return the faces of a person without some, the most central first."""
    out = set(faces)
    return [row["face_id"] for row in now.faces(person_id) if row["face_id"] not in out]


def _parting(people: People, others: Sequence[str], faces: Sequence[str]) -> Parting:
    compared = [*faces[:MOST_COMPARED], *others[:MOST_COMPARED]]
    vectors = vectors_by_face(people.lake, compared)
    return part({face: vectors[face] for face in compared if face in vectors}, faces)


def _take_out(
    people: People, now: View, person: dict[str, Any], faces: Sequence[str],
    apart: Sequence[str] | None = None,
) -> list[Statement] | None:  # fmt: skip
    """Return what takes `faces` from a person, who keeps the others; None: none are left.

    They differ from the faces `apart` alone, never from one that may well be theirs.
    """
    person_id = person["person_id"]
    staying = _others(now, person_id, faces)
    if not staying:
        return None
    if apart is None:
        parted = _parting(people, staying, faces)
        staying, apart = list(dict.fromkeys([*parted.stay, *staying])), parted.apart
    known, leaving = set(staying), set(faces)
    others = [face for face in apart if face in known] or staying[:1]
    for one in people.corrections().sets:
        # What was confirmed as one person with those that go needs somebody who stays with it.
        if one.faces & leaving and one.faces & known and not one.faces & set(others):
            others.insert(0, next(face for face in staying if face in one.faces))
    confirmed = now.confirmed.get(person_id, frozenset()) - leaving
    others = sorted(others, key=lambda face: face not in confirmed)[:ANCHORS]
    statements = [Statement("different", faces, others, person_id)]
    if person["name"] and not confirmed:  # else the name would go with the faces
        statements.insert(0, Statement("name", others, (), person_id, person["name"]))
    return statements


def _person(now: View, person_id: str) -> dict[str, Any]:
    """Return the row of a person by the whole id."""
    person = now.person(person_id)
    if person is not None:
        return person
    raise ConfigError(
        f"There is no person {visible(person_id)!r}; `facelake people LAKE list` shows them"
    )


def _persons_of(now: View, faces: Sequence[str]) -> dict[str, str | None]:
    """Return the person of each face, in order."""
    if not faces:
        raise ConfigError("No face was named; give face ids as `show` lists them")
    persons = now.persons_of(faces)
    if unknown := [face for face in faces if face not in persons]:
        raise ConfigError(
            f"{_list(unknown)} not known here; face ids are in `facelake people LAKE show "
            "PERSON`, and photos added since need `facelake cluster LAKE`"
        )
    return {face: persons[face] for face in faces}


def _list(faces: Sequence[str]) -> str:
    more = f" and {len(faces) - 3} more" if len(faces) > 3 else ""
    shown = ", ".join(visible(face) for face in faces[:3]) + more
    return f"Face {shown} is" if len(faces) == 1 else f"Faces {shown} are"


def _label(person: dict[str, Any]) -> str:
    shown = f" ({visible(person['name'])})" if person["name"] else ""
    return f"{person['person_id']}{shown}"
