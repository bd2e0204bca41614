"""Settings of the review pages, and the secrets that are derived from their token."""

import hashlib
import hmac
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pipeline.options import Option
from pipeline.web.http.access import Access

# A form names at most some thousand faces; a picture that is dropped may be large.
FORM_BYTES = 1 << 20
UPLOAD_BYTES = 64 << 20


@dataclass(frozen=True)
class ReviewConfig(Access):
    """Who may see the pages, and what they may do."""

    # fmt: off
    read_only: Annotated[bool, Option("show, but change nothing")] = False
    user_header: Annotated[str, Option(
        "header in which a reverse proxy names the user, for the history; trusted as it comes",
        "NAME")] = ""
    # fmt: on

    @property
    def cookie_name(self) -> str:
        """The cookie of this server; browsers do not keep cookies of two ports apart."""
        return f"facelake_{self.port}"

    @property
    def me_cookie(self) -> str:
        """The cookie that holds the name of whoever sits at this browser."""
        return f"{self.cookie_name}_me"

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
