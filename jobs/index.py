"""The main job, for `ray job submit -- python jobs/index.py INPUT... --output LAKE`.

The same options as `facelake index`; see docs/operations.md.
"""

import sys
from pathlib import Path

# `ray job submit` runs this file from a copy of the repository that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.commands.main import main  # after the path is set

if __name__ == "__main__":
    sys.exit(main(["index", *sys.argv[1:]]))
