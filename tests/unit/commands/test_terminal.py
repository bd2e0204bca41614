"""What reaches the terminal: no control character of a stranger's name, and no markup."""

import io
import logging
import re
from contextlib import suppress
from pathlib import Path

import pytest
from rich.table import Table

from pipeline import commands
from pipeline.commands.main import main
from pipeline.commands.output import Lines, Terminal, say, show_facts, tell
from pipeline.lake.store import LakeStore
from pipeline.people import People
from pipeline.people.view import view
from tests.support.review_lakes import review_lake

# The clipboard, the title, clearing the screen (also as one character), the bell, text that turns.
EVIL = "a\x1b]52;c;AAAA\x07\x1b]0;t\x07\x1b[2J\x9b2J\r\u202e[red]:smile:[/nope]"
CONTROL = re.compile(r"[^\n -~\u00a0-\u200a\u2010-\u2027\u2030-\U0010ffff]")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evil")
    review_lake(folder, people=3, each=4, names=[EVIL])
    return folder


def clean(capsys):
    got = capsys.readouterr()
    assert not CONTROL.findall(got.out + got.err)
    return got


@pytest.mark.parametrize(
    "words",
    [
        "people LAKE list", "people LAKE list --json", "people LAKE show EVIL",
        "people LAKE name PERSON EVIL", "people LAKE name PERSON x-EVIL", "people LAKE show PERSON",
        "people LAKE history", "people LAKE undo EVIL", "people LAKE export EVIL/x",
        "people LAKE import EVIL", "check LAKE", "prune LAKE --dry-run", "report EVIL",
        "search LAKE --face-id EVIL", "forget LAKE --image EVIL --dry-run",
        "forget LAKE --person PERSON --dry-run", "dedupe LAKE", "dedupe LAKE --image EVIL",
        "index EVIL --output LAKE --dry-run", "index LAKE/../photos --output OUT --dry-run",
        "index x --output OUT --embedder EVIL", "weights fetch EVIL", "verify EVIL EVIL",
        "evaluate clustering LAKE --labels EVIL", "EVIL", "people LAKE EVIL", "index --EVIL x",
        "review LAKE --allow-host EVIL --no-browser",
    ],
)  # fmt: skip
def test_no_command_prints_control_characters(lake, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    now = view(People(LakeStore(str(lake / "lake"))))
    person = now.people["person_id"][0].as_py()
    change = {"LAKE": str(lake / "lake"), "OUT": str(tmp_path / "o"), "EVIL": EVIL,
              "PERSON": person}  # fmt: skip
    arguments = [re.sub("|".join(change), lambda m: change[m[0]], word) for word in words.split()]
    with suppress(SystemExit):  # argparse
        main(arguments)
    got = clean(capsys)
    assert got.out + got.err


def test_a_terminal_gets_richs_codes_and_nobody_elses():
    out = io.StringIO()
    console = Terminal(file=out, force_terminal=True, width=200)
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL)
    console.print(table)
    console.print(EVIL)
    say(console, EVIL)
    show_facts(console, EVIL, {EVIL: EVIL})
    text = out.getvalue()
    assert "\x1b[1m" in text  # headings are bold
    assert not CONTROL.findall(re.sub(r"\x1b\[[\d;]*m", "", text))
    assert text.count("[red]:smile:[/nope]") >= 3


def test_lines_and_logs(capsys):
    tell(f"{EVIL}\n{EVIL}")
    assert clean(capsys).out.count("\n") == 2
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s\n", (EVIL,), None)
    assert not CONTROL.findall(Lines("%(message)s").format(record))


def test_commands_print_by_way_of_output_alone():
    """`print` is ruff's to find (T20)."""
    for file in Path(commands.__file__).parent.glob("*.py"):
        assert not re.search(r"(?<!\w)Console\(", file.read_text()), file.name
