"""What one request for a picture may come to, and what is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

PERMANENT = frozenset({"http_404", "http_410"})
"""Reasons after which a picture is not asked for again unless the user says so."""
OF_THE_HOST = frozenset({"dns", "tls", "http_401", "http_403"})
"""Reasons, besides those that may pass, which tell of a host and not of the picture."""


@dataclass(frozen=True)
class Body:
    """A whole answer with status 200."""

    data: bytes
    content_type: str = ""


@dataclass(frozen=True)
class Redirect:
    """The picture is said to be at `url`, absolute."""

    url: str


@dataclass(frozen=True)
class Failure:
    """No picture.

    Attributes:
        reason: a word to count by: `http_404`, `timeout`, `truncated`, ...
        detail: what was found, for a person.
        is_transient: the same request may well succeed a little later.
        retry_after: seconds the server asks to be left alone; None if it does not say.
    """

    reason: str
    detail: str
    is_transient: bool = False
    retry_after: float | None = None

    @property
    def is_of_host(self) -> bool:
        """The host does not answer, or refuses whatever is asked: the next picture will hardly fare better."""
        return self.is_transient or self.reason in OF_THE_HOST

    @property
    def is_overload(self) -> bool:
        """The server asks for fewer requests, so that all others to it have to wait too."""
        return self.reason in ("http_429", "http_503")


Outcome = Body | Redirect | Failure


@dataclass
class Job:
    """A URL to fetch, once for all items that share it.

    Attributes:
        url: as the items' table has it.
        tokens: the items whose picture it is.
        asked: the URL to ask now: `url`, or where it was redirected to.
        n_tries: requests that failed so far.
        n_redirects: redirects followed in this try.
    """

    url: str
    tokens: Sequence[str]
    asked: str = field(default="")
    n_tries: int = 0
    n_redirects: int = 0

    def __post_init__(self) -> None:
        self.asked = self.asked or self.url


def stamp_of(url: str) -> bytes:
    """The 8 bytes an image store keeps with each picture to know the URL it came from."""
    return hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=8).digest()
