"""Documents that are generated from the code: they equal it, or are rewritten.

FACELAKE_UPDATE_DOCS=1 pytest tests/unit/test_docs.py
"""

import argparse
import os
import re
from pathlib import Path

from pipeline.commands.main import parser
from pipeline.lake import schema
from pipeline.models.cards.card import known_cards

ROOT = Path(__file__).parents[2]


def check(path: Path, text: str) -> None:
    if os.environ.get("FACELAKE_UPDATE_DOCS"):
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} is out of date; see the top of this file"


def commands(root: argparse.ArgumentParser, name: str = "facelake"):
    """Yield every command of the parser with its full name, `facelake` itself first."""
    yield name, root
    for action in root._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                yield from commands(child, f"{name} {word}")
        elif not action.option_strings:
            name += f" {action.metavar}"


def option_lines(command: argparse.ArgumentParser):
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        text = (action.help or "").replace("%(default)s", str(action.default))
        metavar = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        if isinstance(metavar, tuple):
            metavar = " ".join(metavar)
        if action.choices:
            metavar = " or ".join(map(str, action.choices))
        names = ", ".join(action.option_strings)
        yield f"| `{f'{names} {metavar}'.strip()}` | {text} |"


def test_cli_document_lists_every_command_and_option() -> None:
    text = "# Commands\n\nGenerated from the parsers by `tests/unit/test_docs.py`.\n"
    for name, command in commands(parser()):
        lines = list(option_lines(command))
        text += f"\n## {name}\n\n{command.description or ''}\n".replace("\n\n\n", "\n\n")
        if lines:
            text += "\n| option | meaning |\n|---|---|\n" + "\n".join(lines) + "\n"
    check(ROOT / "docs" / "cli.md", text)


def test_every_command_and_option_says_what_it_is_for() -> None:
    for name, command in commands(parser()):
        for action in command._actions:
            if isinstance(action, argparse._SubParsersAction):
                helped = {choice.dest for choice in action._choices_actions}
                assert helped == set(action.choices), f"{name}: a command without help"
            elif not isinstance(action, argparse._HelpAction | argparse._VersionAction):
                assert action.help, f"{name} {action.dest} has no help"


def test_readme_has_the_columns_of_every_table() -> None:
    readme = ROOT / "README.md"
    parts = [
        f"### {name}\n\n{schema.markdown(columns)}" for name, columns in schema.tables(512).items()
    ]
    marks = r"(<!-- tables:[^>]*-->\n).*(<!-- end of tables -->)"
    tables = "\n\n".join(parts)
    text = re.sub(
        marks,
        lambda match: f"{match[1]}\n{tables}\n\n{match[2]}",
        readme.read_text(),
        flags=re.DOTALL,
    )
    assert tables in text
    check(readme, text)


def test_models_document_has_every_card() -> None:
    text = (ROOT / "docs" / "models.md").read_text().split("<!-- cards -->")[0] + "<!-- cards -->\n"
    for card in known_cards().values():
        files = ", ".join(
            f"`{file.name}` ({f'{file.size:,} bytes' if file.size else 'size not published'}, "
            f"SHA-256 {file.sha256 or 'pinned at first use'})"
            for file in card.files
        )
        rows = {
            "kind": card.kind,
            "source": card.source,
            "licence": card.licence,
            "training data": card.training_data,
            "published accuracy": card.accuracy,
            "commercial use": "the licence allows it" if card.commercial else "not said",
            "weights": "put there by hand: " + files
            if not (card.bundled or card.files[0].url)
            else f"{'bundled: ' if card.bundled else 'downloaded at first use: '}{files}",
        }
        if card.kind == "picture":
            rows |= {
                "input": f"{card.input_size} x {card.input_size} {card.colour}, "
                f"(pixel - {card.mean}) / {card.std}",
                "dimension": f"{card.dimension}, {card.metric}",
                "thresholds": f"copy {card.thresholds['copy']:g}",
            }
        if card.kind == "embedder":
            margin = f", margin {card.margin_px} px" if card.alignment == "box" else ""
            rows |= {
                "input": f"{card.input_size} x {card.input_size} {card.colour}, "
                f"(pixel - {card.mean[0]:g}) / {card.std[0]:g}",
                "alignment": card.alignment + margin,
                "dimension": f"{card.dimension}, {card.metric}",
                "thresholds": ", ".join(f"{k} {v:g}" for k, v in card.thresholds.items())
                or "none: calibrate on your archive",
                "calibration": f"{card.calibration.method}, {card.calibration.labelled_set}, prior "
                f"{card.calibration.prior:g}"
                if card.calibration
                else "none",
                "for `--views flip`": "thresholds and calibration hold"
                if card.flip
                else "not measured: calibrate on your archive",
            }
        if card.notes:
            rows["notes"] = card.notes
        lines = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
        text += f"\n## {card.name}\n\n| | |\n|---|---|\n{lines}\n"
    check(ROOT / "docs" / "models.md", text)
