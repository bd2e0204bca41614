"""Clusters a lake, for `ray job submit -- python jobs/cluster.py LAKE`.

The same options as `facelake cluster`; see docs/people.md.
"""

import sys
from pathlib import Path

# `ray job submit` runs this file from a copy of the repository that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.commands.main import main  # after the path is set

if __name__ == "__main__":
    sys.exit(main(["cluster", *sys.argv[1:]]))
