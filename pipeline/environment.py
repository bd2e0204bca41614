"""Environment variables that Ray and glibc read when they start; nothing of Ray is imported."""

import os
import secrets
import sys

# Without these, freeing decoded images one by one makes glibc give memory back and take it again:
# decoding took twice the time. They work only if set before a worker starts.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "67108864", "MALLOC_TRIM_THRESHOLD_": "536870912"}


def prepare() -> None:
    """Set what must be set before `import ray`; what the user has set is kept.

    No usage data is sent, and a cluster that this process starts for itself answers only to a
    random token that lives in the environment of its own processes.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    private = "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ
    if private and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray's C++ layer writes warnings of its own past Python's logging.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name, value in MALLOC.items():
        os.environ.setdefault(name, value)
