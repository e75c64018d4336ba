"""One request for one picture, through httpx2."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2

from recbole_pixel.store.download_addresses import is_public, private_address, proxy_of, url_refusal
from recbole_pixel.store.download_decoding import Decoder, EncodingError
from recbole_pixel.store.download_options import DownloadOptions
from recbole_pixel.store.download_outcome import Body, Failure, Outcome, Redirect

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be another in a moment."""


class _Refused(Exception):
    """The connection leads where it must not."""


class Fetcher:
    """Asks for pictures, one request a call; an asynchronous context manager that holds the connections.

    Args:
        options: limits and timeouts.

    Attributes:
        n_requests: requests made so far.
    """

    def __init__(self, options: DownloadOptions) -> None:
        self.options = options
        self.n_requests = 0
        self._clients: dict[str | None, httpx2.AsyncClient] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Fetcher:
        self._tls = httpx2.create_ssl_context()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def fetch(self, url: str) -> Outcome:
        """What the server answers; never raises for what is wrong with one URL, one server or one answer.

        A connection is checked to lead to a public address before anything is sent over it, whatever a name resolved
        to a moment ago; through a proxy, it is the proxy that resolves.
        """
        refusal = url_refusal(url, self.options.allow_private_hosts)
        if refusal is not None:
            return refusal
        try:
            return await asyncio.wait_for(self._ask(url), self.options.total_timeout)
        except asyncio.TimeoutError:
            return Failure("timeout", f"not complete after {self.options.total_timeout:g} s", is_transient=True)
        except _Refused as error:
            return private_address(str(error))
        except Exception as error:  # names that no resolver takes raise UnicodeError, and so on
            return _failure(error)

    async def _ask(self, url: str) -> Outcome:
        proxy = proxy_of(url)
        is_checked = proxy is None and not self.options.allow_private_hosts
        extensions = {"trace": _checked_connection} if is_checked else {}
        client = self._client(proxy)
        self.n_requests += 1
        async with client.stream("GET", url, extensions=extensions) as response:
            if is_checked:
                _check_peer(response.extensions.get("network_stream"))
            location = response.headers.get("location")
            if location and response.is_redirect:
                return Redirect(str(response.url.join(location)))
            if response.status_code != 200:
                return _bad_status(response)
            return await self._body(response)

    async def _body(self, response: httpx2.Response) -> Body | Failure:
        limit = self.options.max_bytes
        promised = response.headers.get("content-length", "")
        if promised.isdigit() and (len(promised) > 18 or int(promised) > limit):
            return Failure("too_large", f"{promised[:18]} bytes promised, more than {limit:,}")
        data = bytearray()
        try:
            decoder = Decoder(response.headers.get("content-encoding", ""))
            async for piece in response.aiter_raw():
                data += decoder.decode(piece, limit + 1 - len(data))
                if len(data) > limit:
                    return Failure("too_large", f"more than {limit:,} bytes")
            decoder.finish()
        except EncodingError as error:
            return Failure("damaged_encoding", str(error))
        except (httpx2.RemoteProtocolError, httpx2.ReadError) as error:
            return Failure("truncated", f"after {len(data):,} bytes: {error}", is_transient=True)
        if not data:
            return Failure("empty", "status 200 without a byte")
        return Body(bytes(data), response.headers.get("content-type", ""))

    def _client(self, proxy: str | None) -> httpx2.AsyncClient:
        if proxy not in self._clients:
            options = self.options
            client = httpx2.AsyncClient(
                proxy=proxy,
                trust_env=False,  # proxies are chosen above, so that it is known which connections to check
                verify=self._tls,
                headers={"User-Agent": options.user_agent, "Accept": "image/*", "Accept-Encoding": "identity"},
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                timeout=httpx2.Timeout(options.read_timeout, connect=options.connect_timeout, pool=None),
                limits=httpx2.Limits(
                    max_connections=options.connections, max_keepalive_connections=options.connections
                ),
            )
            self._clients[proxy] = client
            self._stack.push_async_callback(client.aclose)
        return self._clients[proxy]


async def _checked_connection(event: str, info: dict[str, Any]) -> None:
    """Closes a new connection to an address that is not public, before a byte is sent over it."""
    if event == "connection.connect_tcp.complete":
        stream = info["return_value"]
        try:
            _check_peer(stream)
        except _Refused:
            await stream.aclose()
            raise


def _check_peer(stream: Any) -> None:
    """Raises _Refused unless the connection is known to lead to a public address."""
    address = stream.get_extra_info("server_addr") if stream is not None else None
    if not address or not is_public(address[0]):
        raise _Refused(address[0] if address else "an unknown address")


def _bad_status(response: httpx2.Response) -> Failure:
    status = response.status_code
    detail = f"{status} {response.reason_phrase}".strip()
    return Failure(f"http_{status}", detail, status in PASSING, _retry_after(response.headers.get("retry-after", "")))


def _retry_after(value: str) -> float | None:
    """Seconds in a Retry-After header, a number or a date; None if it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _failure(error: Exception) -> Failure:
    """An error of httpx2, or beneath it, by its reason."""
    detail = f"{type(error).__name__}: {error}".rstrip(": ")
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return Failure("dns", str(cause), is_transient=cause.errno == socket.EAI_AGAIN)
        if isinstance(cause, ssl.SSLError):
            return Failure("tls", str(cause), is_transient=not isinstance(cause, ssl.SSLCertVerificationError))
        if isinstance(cause, httpx2.InvalidURL):  # httpx2 2.14 reads Location itself and calls it a protocol error
            return Failure("malformed_url", detail)
    kinds: tuple[tuple[type[Exception], str, bool], ...] = (
        (httpx2.TimeoutException, "timeout", True),
        (httpx2.ProxyError, "proxy", True),
        (httpx2.ConnectError, "connection_refused", True),
        (httpx2.UnsupportedProtocol, "refused_scheme", False),
        (httpx2.LocalProtocolError, "malformed_url", False),
        (httpx2.DecodingError, "damaged_encoding", False),
        (httpx2.TransportError, "connection_lost", True),
        (OSError, "connection_lost", True),
        (UnicodeError, "malformed_url", False),
    )
    for kind, reason, is_transient in kinds:
        if isinstance(error, kind):
            return Failure(reason, detail, is_transient)
    return Failure("unexpected", detail)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, outermost first, groups included."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        for inner in getattr(seen, "exceptions", ()):
            yield from _causes(inner)
        seen = seen.__cause__ or seen.__context__
