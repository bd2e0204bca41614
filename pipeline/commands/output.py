"""Lines on the terminal: what comes from outside is shown as it is, never as markup."""

from rich.console import Console

from pipeline.storage.folder import visible


def say(console: Console, text: str) -> None:
    """Print a line; a name may look like markup, or hold control characters."""
    console.print(visible(text), highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Return seconds as a person says it: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
