"""Tells the people of a lake, for `ray job submit -- python jobs/classify.py --lake LAKE`.

The same options as `facelake classify`; see docs/training.md.
"""

import sys
from pathlib import Path

# `ray job submit` runs this file from a copy of the repository that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.commands.main import main  # after the path is set

if __name__ == "__main__":
    sys.exit(main(["classify", *sys.argv[1:]]))
