"""What a job that takes long tells of itself."""

import io

from rich.console import Console

from pipeline.commands import progress


def test_lines_tell_the_time_that_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=200)
    with progress.bar(console) as tell:
        for done in range(5):
            tell("crops", done, 4)
            now[0] += 3
        for done in range(11):
            tell(f"loss {done}", done, 100)
            now[0] += 5
    assert console.file.getvalue().splitlines() == [
        "crops (0 of 4)",
        "crops (4 of 4)",
        "loss 2 (2 of 100, 8 min 10 s left)",
        "loss 4 (4 of 100, 8 min 0 s left)",
        "loss 6 (6 of 100, 7 min 50 s left)",
        "loss 8 (8 of 100, 7 min 40 s left)",
        "loss 10 (10 of 100, 7 min 30 s left)",
    ]
