"""The scripts are tried in the shells themselves."""

import shutil
import subprocess

import pytest

from pipeline.commands.main import main

# Completes a line as bash does for the Tab key, and prints what it offers.
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function_of=$(complete -p facelake | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function_of facelake "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

# Types into an interactive zsh, which completes only there, and prints what is on its screen.
ZSH = """
zmodload zsh/zpty
zpty shell 'TERM=dumb zsh -f -i'
zpty -w shell "PS1=; fpath=($PWD \\$fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy"
zpty -r -m shell seen '*ready*'
zpty -w -n shell $'facelake doc\t'
zpty -r -m shell seen '*facelake doctor*'
print -r -- $seen
zpty -d shell
"""


@pytest.fixture
def script(capsys, tmp_path):
    """Return the path of a shell's script; skips where there is no such shell."""

    def write(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        assert main(["completion", shell]) == 0
        path = tmp_path / f"facelake.{shell}"
        path.write_text(capsys.readouterr().out)
        return path

    return write


def told(folder, *words):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("doc", ["doctor"]),
        ("search", ["search", "search-index"]),
        ("dedupe --not", ["--not-a-copy"]),
        ("people my-lake not", ["not-a-face"]),
        ("people my-lake mark --b", ["--box"]),
        ("cluster --ray al", ["always"]),
        ("index my-", ["my-lake"]),
        ("index photos --output my-", ["my-lake"]),
    ],
)
def test_bash_completes(script, tmp_path, words, offered):
    path = script("bash")
    (tmp_path / "my-lake").mkdir()
    got = told(tmp_path, "bash", "--norc", "-c", BASH, "bash", path, "facelake", *words.split(" "))
    assert sorted(got) == offered


@pytest.mark.parametrize(("words", "first"), [("doc", "doctor"), ("dedupe --not", "--not-a-copy")])
def test_fish_completes(script, tmp_path, words, first):
    line = f"source {script('fish')}; complete --do-complete 'facelake {words}'"
    got = told(tmp_path, "fish", "--no-config", "-c", line)
    assert got[0].split("\t")[0] == first


def test_zsh_completes(script, tmp_path):
    script("zsh").rename(tmp_path / "_facelake")
    got = "\n".join(told(tmp_path, "zsh", "-f", "-c", ZSH))
    assert "facelake doctor" in got
