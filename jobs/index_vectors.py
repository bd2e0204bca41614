"""Builds the vector index of a lake, for `ray job submit -- python jobs/index_vectors.py LAKE`.

The same options as `facelake search-index`; see docs/search.md.
"""

import sys
from pathlib import Path

# `ray job submit` runs this file from a copy of the repository that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.commands.main import main  # after the path is set

if __name__ == "__main__":
    sys.exit(main(["search-index", *sys.argv[1:]]))
