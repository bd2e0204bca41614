"""Trains on a lake, for `ray job submit -- python jobs/train.py LAKE --output MODEL_DIR`.

The same options as `facelake train`; see docs/training.md.
"""

import sys
from pathlib import Path

# `ray job submit` runs this file from a copy of the repository that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.commands.main import main  # after the path is set

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
