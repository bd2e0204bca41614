"""Settings of the API."""

import os
from dataclasses import dataclass, field, replace
from typing import Annotated

from pipeline.config import MAX_TIMEOUT_S, DecodeConfig
from pipeline.options import Option
from pipeline.search.settings import VerifyConfig
from pipeline.web.http.access import Access


@dataclass(frozen=True)
class ServeConfig(Access):
    """Who may ask, and what all requests together may cost."""

    # fmt: off
    workers: Annotated[int | None, Option(
        "sets of networks that work side by side, each on a core and in 300 MB", "N", least=1,
        unset="the cores that the process may use")] = None
    batch: Annotated[int, Option(
        "requests whose photos one call of the networks gets, at most", "N", least=1)] = 16
    queue: Annotated[int, Option(
        "requests in the server at once; further ones are answered 503", "N", least=1)] = 64
    timeout_s: Annotated[float, Option(
        "a body that takes longer to come is answered 408, a result that takes longer 504",
        name="timeout", unit="SECONDS", above=0, most=MAX_TIMEOUT_S)] = 30.0
    max_body: Annotated[int, Option(
        "larger bodies are answered 413", "BYTES", least=1)] = 32 * 2**20
    connections: Annotated[int, Option(
        "open at once; for a further one the longest idle one ends", "N", least=1)] = 256
    decode: Annotated[DecodeConfig, "photos"] = field(default_factory=DecodeConfig)
    verify: Annotated[VerifyConfig, "verification"] = field(default_factory=VerifyConfig)
    # fmt: on

    @property
    def replicas(self) -> int:
        """How many sets of networks there are."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def limits(self) -> DecodeConfig:
        """What decoding one photo may cost: no more time than its request has."""
        return replace(self.decode, timeout_s=min(self.decode.timeout_s, self.timeout_s))
