"""A local web server that serves pictures, and misbehaves on request."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers a path by the function its server has for it."""

    protocol_version = "HTTP/1.1"
    server: PictureServer

    def do_GET(self) -> None:
        server = self.server
        with server.guard:
            server.asked.append((self.path, time.monotonic()))
            server.headers_seen.append(dict(self.headers))
            server.n_active += 1
            server.most_active = max(server.most_active, server.n_active)
        try:
            server.answers.get(self.path, status(404))(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with server.guard:
                server.n_active -= 1

    def send(self, code: int, body: bytes = b"", length: int | None = -1, **headers: object) -> None:
        """A whole answer; `length` is what Content-Length says, None leaves it out and closes."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if length is None:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class PictureServer(ThreadingHTTPServer):
    """Listens on a port that was free, at all addresses of this machine.

    Attributes:
        answers: path -> what to do.
        asked: (path, time) of each request, in their order.
        most_active: the most requests that were under way at a time.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("", 0), Handler)
        self.guard = threading.Lock()
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, float]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.n_active = self.most_active = 0

    def forget(self) -> None:
        """Answers nothing, and knows of no request."""
        self.answers = {}
        self.forget_requests()

    def forget_requests(self) -> None:
        with self.guard:
            self.asked, self.headers_seen, self.most_active = [], [], 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def add(self, path: str, answer: Answer) -> str:
        """Makes `path` answer so; its URL."""
        self.answers[path] = answer
        return self.url(path)

    def counts(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(path for path, _ in self.asked)

    def times(self, path: str) -> list[float]:
        return [at for asked, at in self.asked if asked == path]

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are what is tested."""


@contextmanager
def serving() -> Iterator[PictureServer]:
    """A server that runs in a thread until the block ends."""
    server = PictureServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def picture(data: bytes, after: float = 0.0) -> Answer:
    """The picture, `after` seconds."""

    def _answer(handler: Handler) -> None:
        time.sleep(after)
        handler.send(200, data, Content_Type="image/png")

    return _answer


def status(code: int, **headers: object) -> Answer:
    """A status without a picture."""
    return lambda handler: handler.send(code, b"sorry", **headers)


def redirect(location: str, code: int = 302) -> Answer:
    return lambda handler: handler.send(code, Location=location)


def first(n: int, answer: Answer, then: Answer) -> Answer:
    """`answer` for the first `n` requests, `then` for the others."""
    left = [n]

    def _answer(handler: Handler) -> None:
        left[0] -= 1
        (answer if left[0] >= 0 else then)(handler)

    return _answer


def body(data: bytes, **how: object) -> Answer:
    """Status 200 with any bytes; `length` is what Content-Length says, None leaves it out."""
    return lambda handler: handler.send(200, data, **how)


def truncated(data: bytes, promised: int) -> Answer:
    """Promises more than it sends, and hangs up."""

    def _answer(handler: Handler) -> None:
        handler.send(200, data, length=promised)
        handler.close_connection = True

    return _answer


def drip(data: bytes, pause: float, in_head: bool = False) -> Answer:
    """A byte, a pause, a byte: of the body, or of a header that never ends."""

    def _answer(handler: Handler) -> None:
        if in_head:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        else:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(pause)

    return _answer


def endless(handler: Handler) -> None:
    """Bytes without end and without a Content-Length."""
    handler.send(200, length=None, Content_Type="image/jpeg")
    while True:
        handler.wfile.write(b"\xff" * 65536)


def hang_up(handler: Handler) -> None:
    """Closes without a word."""
    handler.close_connection = True
