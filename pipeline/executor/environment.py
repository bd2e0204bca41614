"""Environment variables that Ray reads when it starts; nothing of Ray is imported."""

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.imaging.memory import MALLOC

# Ray ends a worker that had nothing to do for a second. Parts are written some seconds apart: each
# would start a process anew, which takes longer than the writing. Much longer, and workers that
# nobody needs any more would stay.
IDLE_WORKER_S = 30


def prepare(verbose: bool = False) -> None:
    """Set what must be set before `import ray`; what the user has set is kept.

    No usage data is sent, and a cluster that this process starts for itself answers only to a
    random token that lives in the environment of its own processes.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", f"{1000 * IDLE_WORKER_S}")
    private = "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ
    if private and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if not verbose:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        config = Path(__file__).with_name("ray-data-logging.yaml")
        os.environ.setdefault("RAY_DATA_LOGGING_CONFIG", str(config))
    for name, value in MALLOC.items():
        os.environ.setdefault(name, value)


@contextmanager
def quiet_stderr(active: bool = True) -> Iterator[None]:
    """Keep what native code writes to standard error to itself, unless an exception ends it.

    Ray's C++ layer announces its log level there, past Python's logging.
    """
    if not active:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
