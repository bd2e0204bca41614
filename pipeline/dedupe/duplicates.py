"""The table of duplicates of a lake, and what was searched to make it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake import schema
from pipeline.lake.generations import DUPLICATES as CURRENT
from pipeline.lake.generations import Generations, pieces
from pipeline.lake.store import LakeStore

TABLE, PAIRS, CROPS = "duplicates", "duplicates/_pairs", "duplicates/_crops"
LOOKS, FAMILIES = "duplicates/_looks", "duplicates/_families"


class Duplicates:
    """The duplicates of a lake.

    Args:
        lake: whose pictures they are.
    """

    def __init__(self, lake: LakeStore) -> None:
        self.lake = lake
        self.generations = Generations(
            lake,
            CURRENT,
            (TABLE, PAIRS, CROPS, LOOKS, FAMILIES),
            "Nobody has looked for duplicates in {lake} yet; run facelake dedupe {lake}",
            "run `facelake dedupe` again: it makes the table anew",
            added_later=(LOOKS, FAMILIES),
        )

    def current(self) -> dict[str, Any] | None:
        """Return what is known of the last search, None when there is none or it is damaged."""
        return self.generations.current_or_none()

    def table(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return a row for each picture in a group.

        Raises:
            ConfigError: nobody has searched yet.
        """
        return self.generations.read(TABLE, lambda: schema.DUPLICATES, columns, where)

    def pairs(self) -> pa.Table:
        """Return the pairs of close hashes that were found."""
        return self.generations.read(PAIRS, lambda: schema.HASH_PAIRS)

    def crops(self) -> pa.Table:
        """Return the pairs of pictures of which the second lies inside the first."""
        return self.generations.read(CROPS, lambda: schema.CROP_PAIRS)

    def looks(self) -> pa.Table:
        """Return what second looks at pairs of pictures said."""
        return self.generations.read(LOOKS, lambda: schema.LOOKS)

    def families(self) -> pa.Table:
        """Return the families of pictures, as the last search found them, by `row`."""
        return self.generations.read(FAMILIES, lambda: schema.FAMILIES)

    def publish(
        self, run_id: str, tables: Mapping[str, pa.Table], about: Mapping[str, Any]
    ) -> None:
        """Write a generation of the tables; those that are not given are empty."""
        names = self.generations.tables
        whole = {name: pieces(tables[name]) if name in tables else () for name in names}
        self.generations.publish(run_id, whole, about)
