"""A private Ray: nobody else of the machine gets in, nothing stays, no secret is written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.bad_server import bad_server
from tests.support.builders import jpeg

CANARY = "canary-5e0f3b7a-secret"
RAY = """
import os, sys
from pipeline.executor import environment
environment.prepare()
import ray
from pipeline.executor.cluster import cluster
with cluster():
    ray.put(bytes(10**7))
    print(os.path.realpath(ray._private.worker._global_node.get_temp_dir_path()), flush=True)
    print(ray._private.worker._global_node.plasma_store_socket_name, flush=True)
    print(os.environ.get("RAY_AUTH_TOKEN", ""), flush=True)
    sys.stdin.read()
"""
OTHER_USER = """
import os, pwd, socket, sys
folder, socket_path, user = sys.argv[1:]
if user != "root":
    about = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(about.pw_gid)
    os.setuid(about.pw_uid)
done = []
def attempt(what, call):
    try:
        call()
        done.append(what)
    except OSError:
        pass
attempt("list", lambda: os.listdir(folder))
attempt("parent", lambda: os.listdir(os.path.dirname(folder)))
attempt("write", lambda: open(folder + "/x", "w"))
attempt("read", lambda: open(os.path.dirname(folder) + "/lock"))
attempt("logs", lambda: os.listdir(folder + "/session_latest/logs"))
attempt("connect", lambda: socket.socket(socket.AF_UNIX).connect(socket_path))
print(done)
"""


class Ray:
    """A run that holds a private Ray, with its temporary folder."""

    def __init__(self, temporary: Path) -> None:
        names = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
        env = {k: v for k, v in os.environ.items() if k not in names}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RAY],
            env=env | {"TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [self.process.stdout.readline().strip() for _ in range(3)]
        self.folder, self.socket, self.token = lines

    def end(self, by: int | None = None) -> None:
        if by is not None:
            self.process.send_signal(by)
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


def attempts(ray: Ray, user: str) -> str:
    """Return what a user of the machine can do with the folder and the socket of a run."""
    told = subprocess.run(
        [sys.executable, "-c", OTHER_USER, ray.folder, ray.socket, user],
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip()


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / ("long-" * 18)
    folder.mkdir()
    return folder


def test_a_long_temporary_folder_is_no_trouble(temporary: Path) -> None:
    ray = Ray(temporary)
    assert len(ray.socket) < 108
    assert ray.folder.startswith(("/tmp/facelake-", "/var/tmp/facelake-"))
    assert any(temporary.iterdir())  # for what does not fit into memory
    ray.end()
    assert ray.process.returncode == 0
    assert not Path(ray.folder).parent.exists()
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_of_the_machine_stays_out() -> None:
    ray = Ray(Path("/tmp"))
    try:
        assert attempts(ray, "nobody") == "[]"
        assert "'connect'" in attempts(ray, "root")  # or the attempts prove nothing
        assert ray.token
        assert not any(ray.token in line for line in command_lines(set()).values())
    finally:
        ray.end()


def test_the_next_run_removes_what_a_killed_one_left(temporary: Path) -> None:
    shared_before = set(os.listdir("/dev/shm"))
    killed, living = Ray(temporary), Ray(temporary)
    killed.end(signal.SIGKILL)
    time.sleep(2)
    assert Path(killed.folder).exists()
    following = Ray(temporary)
    assert not Path(killed.folder).parent.exists()
    assert Path(living.folder).exists()
    assert len(list(temporary.iterdir())) == 2
    living.end()
    following.end()
    assert (living.process.returncode, following.process.returncode) == (0, 0)
    assert list(temporary.iterdir()) == []
    assert set(os.listdir("/dev/shm")) <= shared_before


def command_lines(without: set[int]) -> dict[int, str]:
    """Return the arguments of every process of the machine."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) not in without | {os.getpid()}:
            try:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
    return found


def files_with(secret: bytes, *roots: Path) -> set[str]:
    found = set()
    for root in roots:
        for path in root.rglob("*"):
            try:
                if path.is_file() and not path.is_symlink() and secret in path.read_bytes():
                    found.add(str(path))
            except OSError:
                continue
    return found


@pytest.mark.parametrize(
    ("by", "pools"),
    [("variable", ["--detect-actors", "1"]), ("option", ["--detect-actors", "1"]), ("option", [])],
    ids=["variable, on Ray", "option, on Ray", "option, one process"],
)
def test_a_secret_of_storage_is_written_nowhere(tmp_path: Path, by: str, pools: list[str]) -> None:
    """Everything is looked at again and again while a run goes on, and afterwards."""
    temporary = tmp_path / "t"
    temporary.mkdir()
    header = "headers.X-Api-Key=" + CANARY
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {"TMPDIR": str(temporary), "RAY_USAGE_STATS_ENABLED": "0"}
    given = ["--storage-option", header] if by == "option" else []
    if by == "variable":
        env["FSSPEC_HTTP"] = json.dumps({"headers": {"X-Api-Key": CANARY}})
    looked, seen = 0, set()
    with bad_server({"/secret/a.jpg": jpeg(1, 300, 300), "/status/403/b.jpg": b""}) as server:
        server.key = CANARY
        inputs = tmp_path / "photos.txt"
        inputs.write_text(f"{server.url}/secret/a.jpg\n{server.url}/status/403/b.jpg\n")
        with (tmp_path / "out.log").open("w") as log:
            run = subprocess.Popen(
                [sys.executable, "-m", "pipeline.commands.main", "index", str(inputs), "--output",
                 str(tmp_path / "lake"), "--embedder", "sface", "--verbose", *given, *pools],
                env=env, stdout=log, stderr=log,
            )  # fmt: skip
            while run.poll() is None:
                lines = command_lines({run.pid})
                own = "\0".join([*map(str, run.args), ""])  # a fork has it until it becomes another
                seen |= {line for line in lines.values() if CANARY in line and line != own}
                seen |= files_with(CANARY.encode(), tmp_path, *Path("/tmp").glob("facelake-*"))
                looked += 1
                time.sleep(0.2)
    text = (tmp_path / "out.log").read_text()
    assert run.returncode == 0, text
    assert server.sent["/secret/a.jpg"] > 0, text
    assert looked > 5
    assert seen == set()
    assert files_with(CANARY.encode(), tmp_path) == set()
