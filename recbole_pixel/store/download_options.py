"""How politely and how patiently pictures are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_pixel import __version__

USER_AGENT = f"recbole-pixel/{__version__} (recommender research; images download)"


@dataclass(frozen=True)
class DownloadOptions:
    """What `download_images` may do to the servers it asks.

    Attributes:
        connections: requests under way at a time, to all hosts together.
        per_host: requests under way at a time, to any one host.
        rate: requests that begin per second, redirects and retries included.
        retries: further tries after a failure that may pass (timeout, lost connection, 408, 425, 429, 5xx).
        backoff: seconds before the first retry, doubled for each further one, less up to half by chance.
        max_wait: longest time between tries in seconds, also where a server's Retry-After is longer.
        connect_timeout: seconds until a connection stands, TLS included.
        read_timeout: seconds without a byte.
        total_timeout: seconds for one request from its begin to its last byte.
        max_bytes: longest answer in bytes.
        max_redirects: redirects followed for one picture.
        give_up_after: pictures of one host that fail in a row, each after its retries and for no fault of the
            picture (no answer, 5xx, 429, 401, 403), before the rest of that host is left for another run.
        user_agent: who asks.
        allow_private_hosts: whether loopback, private and link-local addresses may be asked.

    Raises:
        ValueError: a number out of range, or an empty or unprintable user agent.
    """

    connections: int = 32
    per_host: int = 8
    rate: float = 50.0
    retries: int = 4
    backoff: float = 1.0
    max_wait: float = 120.0
    connect_timeout: float = 10.0
    read_timeout: float = 20.0
    total_timeout: float = 60.0
    max_bytes: int = 32 << 20
    max_redirects: int = 5
    give_up_after: int = 50
    user_agent: str = USER_AGENT
    allow_private_hosts: bool = False

    def __post_init__(self) -> None:
        for name in ("connections", "per_host", "max_bytes", "give_up_after"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("retries", "max_redirects", "backoff", "max_wait"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("rate", "connect_timeout", "read_timeout", "total_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if not (self.user_agent.isascii() and self.user_agent.isprintable() and self.user_agent.strip()):
            raise ValueError(f"user_agent is {self.user_agent!r}, expected printable ASCII text")
