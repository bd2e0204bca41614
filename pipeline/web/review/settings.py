"""Settings of the review pages, and the secrets that are derived from their token."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import cached_property

from pipeline.options import require

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# A form names at most some thousand faces; a picture that is dropped may be large.
FORM_BYTES = 1 << 20
UPLOAD_BYTES = 64 << 20
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True)
class ReviewConfig:
    """Who may see the pages, and what they may do.

    Attributes:
        token: the secret in the address.
        host: interface to listen on.
        port: of the server.
        allowed: further host names that a browser may use, behind a reverse proxy.
        read_only: nothing can be changed.
    """

    token: str
    host: str = "127.0.0.1"
    port: int = 0
    allowed: tuple[str, ...] = ()
    read_only: bool = False

    def __post_init__(self) -> None:
        """Check host, port and names."""
        require(
            self.host in LOOPBACK or bool(self.allowed),
            f"--host {self.host} is reachable from other machines; pictures and names would be "
            "open to them. Put a reverse proxy in front, see docs/review.md, and name it with "
            "--allow-host",
        )
        require(0 <= self.port <= 65_535, f"--port {self.port} is none; give 1 to 65535")
        for name in self.allowed:
            require(bool(_NAME.fullmatch(name)), f"--allow-host {name} is no name of a host")

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Names that the header Host may have, without port."""
        return frozenset({*LOOPBACK, *(name.lower() for name in self.allowed)})

    @property
    def cookie_name(self) -> str:
        """The cookie of this server; browsers do not keep cookies of two ports apart."""
        return f"facelake_{self.port}"

    @cached_property
    def cookie(self) -> str:
        """What the cookie holds."""
        return self._derived("cookie")

    @cached_property
    def csrf(self) -> str:
        """What every form holds."""
        return self._derived("csrf")

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.token.encode(), purpose.encode(), hashlib.sha256).hexdigest()
