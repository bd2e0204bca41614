"""`facelake people`: who is who in a lake, and corrections to it."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from pipeline.commands import options as opt
from pipeline.commands import people_files, people_photos, people_tables
from pipeline.commands.output import tell
from pipeline.errors import ConfigError
from pipeline.people.corrections import Constraint
from pipeline.people.table import PeopleTable
from pipeline.people.view import ORDERS
from pipeline.storage.folder import visible


def add_parser(commands: Any) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser(
        "people",
        help="list the people of a lake, name and correct them",
        description="List the people that `facelake cluster` found, and correct them. PERSON is "
        "an id, the first digits of one (4 or more), or an exact name; FACE is a face id. "
        "Corrections are visible at once, are stored apart from the tables, win over every later "
        "clustering, and can be undone.",
    )
    opt.add_lake(parser)
    parser.set_defaults(func=run)
    subparsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    common = argparse.ArgumentParser(add_help=False)
    opt.add_storage_options(common)

    def add(name: str, act: Callable[[PeopleTable, argparse.Namespace], None], about: str) -> Any:
        added = subparsers.add_parser(name, parents=[common], help=about, description=about)
        added.set_defaults(action_of=act)
        return added

    _listing(add("list", _list, "list the people"))
    showing = add("show", _show, "show a person and the faces")
    _person(showing)
    showing.add_argument("--json", action="store_true", help="print JSON")
    naming = add("name", _name, "give a person a name")
    _person(naming)
    naming.add_argument("name", nargs="?", metavar="NAME", help="what the person is called")
    naming.add_argument("--remove", action="store_true", help="take the name away instead")
    merging = add("merge", _merge, "say that persons are one, who keeps the first one's id")
    _persons(merging)
    about = "take faces, and the others like them, out of a person; they become a new one"
    _splitting(add("split", _split, about))
    moving = add("move", _move, "say that faces are another person")
    _faces(moving)
    moving.add_argument("--to", required=True, metavar="PERSON", help="who they are")
    _faces(add("not-a-face", _not_a_face, "reject faces: they are no faces, or nobody's"))
    _faces(add("a-face", _a_face, "take rejected faces back: they are faces after all"))
    rejected = add("rejected", _rejected, "list the faces that were rejected")
    rejected.add_argument("--json", action="store_true", help="print JSON")
    _persons(add("hide", _hide, "leave persons out of lists"))
    _persons(add("unhide", _unhide, "show hidden persons again"))
    about = "say that there is a face on a photo where none was found, and whose it is"
    _marking(add("mark", _mark, about))
    covering = add("cover", _cover, "choose the face that stands for a person")
    _person(covering)
    covering.add_argument("face", metavar="FACE", help="a face of the person")
    history = add("history", _history, "list all corrections, those taken back marked")
    history.add_argument("--json", action="store_true", help="print JSON")
    undoing = add("undo", _undo, "take a correction back, or bring back what an undo took")
    undoing.add_argument(
        "correction", nargs="?", metavar="ID", help="as history shows it; default: the last one"
    )
    people_files.add_parsers(add)
    people_photos.add_parser(add)


def _listing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="hidden people too")
    parser.add_argument(
        "--sort",
        choices=sorted(ORDERS),
        default="size",
        help="most faces, name, or latest photo first; default: %(default)s",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="show so many; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("person", metavar="PERSON", help="id, start of the id, or exact name")


def _persons(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("persons", nargs="+", metavar="PERSON", help="ids, or exact names")


def _splitting(parser: argparse.ArgumentParser) -> None:
    _person(parser)
    _faces(parser)
    parser.add_argument("--only", action="store_true", help="these faces alone, none follows")
    parser.add_argument(
        "--dry-run", action="store_true", help="only list which faces follow, and which stay"
    )


def _faces(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("faces", nargs="+", metavar="FACE", help="face ids, as show lists them")


def _marking(parser: Any) -> None:
    parser.add_argument("photo", metavar="PHOTO", help="image_id, uri or name of a photo")
    parser.add_argument(
        "--box", required=True, metavar="X1,Y1,X2,Y2",
        help="left, top, right and bottom of the face, in pixels of the upright photo",
    )  # fmt: skip
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--to", metavar="PERSON", help="whose face it is: id, or exact name")
    whose.add_argument("--name", metavar="NAME", help="what a person, or somebody new, is called")
    opt.add_own_embedder(parser)


def run(options: argparse.Namespace) -> int:
    """Do what the options say; return the exit code."""
    options.action_of(opt.open_lake(options).people, options)
    return 0


def _list(people: PeopleTable, options: argparse.Namespace) -> None:
    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"--limit {options.limit} shows nobody; give 1 or more, or leave it out")
    people_tables.show_list(
        people.to_arrow(), options.sort, options.all, options.limit, options.json
    )


def _show(people: PeopleTable, options: argparse.Namespace) -> None:
    view = people.now()
    people_tables.show_person(people.store, view, view.lookup(options.person), options.json)


def _name(people: PeopleTable, options: argparse.Namespace) -> None:
    if (options.name is None) != options.remove:
        raise ConfigError("Give either a name or --remove")
    if options.remove:
        _print_done(people.unname(options.person), "name removed")
    else:
        correction = people.name(options.person, options.name)
        _print_done(
            correction, f"{correction.person_id} is called {visible(correction.value or '')}"
        )
        for other in people.now().called(options.name):
            if other != correction.person_id:
                tell(f"so is {other}; if they are one: merge {other} {correction.person_id}")


def _merge(people: PeopleTable, options: argparse.Namespace) -> None:
    correction = people.merge(*options.persons)
    _print_done(correction, f"{len(set(options.persons))} persons are one, {correction.person_id}")


def _split(people: PeopleTable, options: argparse.Namespace) -> None:
    if options.dry_run:
        parting = people.followers(options.person, options.faces)
        for verb, faces in (("follow", parting.follow), ("stay", parting.stay)):
            tell("\n".join([f"{len(faces)} other faces {verb}", *(f"  {face}" for face in faces)]))
        return
    correction = people.split(options.person, options.faces, options.only)
    follow = [face for face in correction.faces if face not in options.faces]
    _print_done(
        correction,
        f"{len(correction.faces)} faces of {visible(options.person)} are a new person, "
        f"{correction.person_id}",
    )
    if follow:
        tell(f"{len(follow)} of them follow by likeness (--only: none do):")
        tell("\n".join(f"  {face}" for face in follow))


def _move(people: PeopleTable, options: argparse.Namespace) -> None:
    correction = people.move(options.faces, options.to)
    _print_done(correction, f"{len(set(options.faces))} faces are {correction.person_id} now")


def _not_a_face(people: PeopleTable, options: argparse.Namespace) -> None:
    correction = people.not_a_face(options.faces)
    _print_done(correction, f"{len(correction.faces)} faces rejected")


def _a_face(people: PeopleTable, options: argparse.Namespace) -> None:
    correction = people.a_face(options.faces)
    _print_done(correction, f"{len(correction.faces)} faces taken back")


def _rejected(people: PeopleTable, options: argparse.Namespace) -> None:
    now = people.now()
    faces = sorted(now.rejected - now.withdrawn)
    if options.json:
        tell(json.dumps(faces))
        return
    tell(f"{len(faces)} faces are rejected; to take one back: a-face FACE")
    for face in faces:
        tell(f"  {face}")


def _hide(people: PeopleTable, options: argparse.Namespace) -> None:
    correction = people.hide(*options.persons)
    _print_done(correction, _of(options.persons, "hidden"))


def _unhide(people: PeopleTable, options: argparse.Namespace) -> None:
    correction = people.unhide(*options.persons)
    _print_done(correction, _of(options.persons, "shown"))


def _of(persons: list[str], what: str) -> str:
    return f"{visible(persons[0])} is {what}" if len(persons) == 1 else f"{len(persons)} {what}"


def _cover(people: PeopleTable, options: argparse.Namespace) -> None:
    correction = people.cover(options.person, options.face)
    _print_done(correction, f"{visible(options.face)} stands for {correction.person_id}")


def _mark(people: PeopleTable, options: argparse.Namespace) -> None:
    try:
        box = [float(side) for side in options.box.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--box {visible(options.box)} is no box; give left, top, right and bottom in pixels, "
            "like 120,80,180,150"
        ) from error
    correction = people.mark(options.photo, box, options.to, options.name)
    whose = f", of {correction.person_id}" if correction.person_id else ""
    _print_done(correction, f"{correction.faces[0]} is a face{whose}")


def _history(people: PeopleTable, options: argparse.Namespace) -> None:
    people_tables.show_history(people.history(), options.json)


def _undo(people: PeopleTable, options: argparse.Namespace) -> None:
    correction = people.undo(options.correction)
    tell(f"taken back: {correction.value}; to bring it back: undo {correction.constraint_id}")


def _print_done(correction: Constraint, text: str) -> None:
    tell(f"{text}; to take it back: undo {correction.constraint_id}")
