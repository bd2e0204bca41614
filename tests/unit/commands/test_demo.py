from pipeline.commands import cluster, demo, index
from pipeline.commands.main import main
from tests.support.data import EXAMPLES


def test_photos_are_those_of_the_examples():
    assert demo.PHOTOS.resolve() == EXAMPLES
    assert (demo.PHOTOS / "CREDITS.md").is_file()


def test_a_step_that_fails_ends_it(monkeypatch, capsys, tmp_path):
    asked = []

    def failing(options):
        asked.append(options)
        return 8

    monkeypatch.setattr(index, "run", failing)
    monkeypatch.setattr(cluster, "run", failing)
    assert main(["demo", "--output", str(tmp_path / "my lake")]) == 8
    (options,) = asked
    assert (options.embedder, options.output) == ("sface", str(tmp_path / "my lake"))
    assert f"--output '{tmp_path}/my lake'" in capsys.readouterr().out
