"""`facelake people LAKE export` and `import`: names in files, CSV or XMP sidecars."""

import argparse
import os
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.commands import options as opt
from pipeline.commands.output import Terminal, tell
from pipeline.commands.progress import steps
from pipeline.errors import ConfigError
from pipeline.people.names import exported, import_names
from pipeline.people.table import PeopleTable, note
from pipeline.people.xmp.places import ENDING
from pipeline.storage.folder import split_file, visible

if TYPE_CHECKING:
    from pipeline.people.xmp.taking import ImportResult


def add_parsers(
    add: Callable[[str, Callable[[PeopleTable, argparse.Namespace], None], str], Any],
) -> None:
    """Add both; `add` makes a parser from a name, a function and a help text."""
    exporting = add(
        "export", _export,
        "write who is on which photo: a CSV file, or XMP sidecars with face regions that digiKam, "
        "Lightroom and others read",
    )  # fmt: skip
    exporting.add_argument(
        "file", nargs="?", metavar="FILE",
        help="CSV with the columns person_id, name, face_id, uri, replaced if there; with --xmp a "
        "folder or URL, in which sidecars lie as the photos do below their common folder",
    )  # fmt: skip
    exporting.add_argument("--xmp", action="store_true", help="write XMP sidecars")
    exporting.add_argument(
        "--beside", action="store_true", help="write the sidecars beside the photos, no folder"
    )
    exporting.add_argument(
        "--naming", choices=("full", "stem"), default="full",
        help="full: photo.jpg.xmp, as digiKam and darktable have it; stem: photo.xmp, as Lightroom "
        "has it; default: %(default)s",
    )  # fmt: skip
    exporting.add_argument(
        "--replace", action="store_true",
        help="also change sidecars of other programs: their other contents and other faces stay",
    )  # fmt: skip
    importing = add(
        "import", _import,
        "name the faces of a CSV file, or those in face regions of XMP, in sidecars or in the "
        "photos themselves; regions where no face was found become faces",
    )  # fmt: skip
    importing.add_argument(
        "file", nargs="?", metavar="FILE",
        help="CSV with the columns face_id and name; a sidecar, .xmp; or a folder of sidecars",
    )  # fmt: skip
    importing.add_argument(
        "--embedded", action="store_true",
        help="read the metadata inside the photos of the lake: every photo is read once",
    )  # fmt: skip
    importing.add_argument(
        "--replace", action="store_true",
        help="names of regions win over names in the lake; without, these stay. Those of a CSV "
        "file always win",
    )  # fmt: skip
    opt.add_own_embedder(importing)


def _export(people: PeopleTable, options: argparse.Namespace) -> None:
    if options.xmp or options.beside:
        if (options.file is None) != options.beside:
            raise ConfigError("Give either a folder for the sidecars or --beside")
        # It marks faces on import, and so knows decoders: not for every start.
        from pipeline.people.xmp.sidecars import export_sidecars

        written = export_sidecars(
            people.store, options.file, options.naming, options.replace, opt.storage_of(options)
        )
        tell(f"{written.sidecars:,} sidecars written, with {written.faces:,} faces")
        _show_skipped(written.skipped)
        return
    if options.file is None or options.replace or options.naming != "full":
        raise ConfigError("Give a CSV file to write, or --xmp with a folder or --beside")
    text = exported(people.store)
    folder, name = split_file(options.file)
    folder.publish(name, text.encode())
    tell(f"{text.count(chr(10)) - 1:,} faces written to {visible(options.file)}")


def _import(people: PeopleTable, options: argparse.Namespace) -> None:
    if (options.file is None) != options.embedded:
        raise ConfigError("Give either a file or folder to import, or --embedded")
    if options.embedded:
        with steps(Terminal()) as progress:
            result = people.import_embedded(replace=options.replace, progress=progress)
        _show_imported(result, "photos")
        return
    if options.file.lower().endswith(ENDING) or os.path.isdir(options.file):
        with steps(Terminal()) as progress:
            result = people.import_sidecars(
                options.file, replace=options.replace, progress=progress
            )
        _show_imported(result, "sidecars")
        return
    folder, name = split_file(options.file)
    data = folder.read(name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{visible(options.file)} is not UTF-8; save it as UTF-8") from error
    imported = import_names(people.store, text, note("import", options.file))
    tell(f"{imported.names:,} names given to {imported.faces:,} faces")
    if imported.unknown:
        tell(f"{imported.unknown:,} faces of the file are not in the clusters of this lake")


def _show_imported(result: "ImportResult", of: str) -> None:
    names, faces = (result.imported.names, result.imported.faces) if result.imported else (0, 0)
    tell(f"{names:,} names given to {faces:,} faces, from {result.sidecars:,} {of}")
    if result.marked:
        tell(f"{result.marked:,} of these faces are new: regions where no face was found")
    if result.marked > result.made:
        tell(
            f"{result.marked - result.made:,} of them are made when their photos can be read, by "
            "`facelake index` or `facelake cluster`"
        )
    if result.known:
        tell(f"{result.known:,} faces had their name already")
    _show_skipped(result.skipped)


def _show_skipped(skipped: Counter[str]) -> None:
    for why, count in sorted(skipped.items()):
        if count:
            tell(f"passed over: {count:,} {why}")
