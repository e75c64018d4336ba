"""Starts programs from a process that has imported torch and RecBole already: importing them costs seconds each time.

    python warm_process.py SOCKET     serves; prints "ready" when programs can be started
    python warm_process.py SOCKET WHAT ARGUMENT ...     starts one, and ends with its exit code

A program gets the caller's arguments, folder, environment, input and outputs, as if the caller had run it itself; what
it starts as Python is started by ``$WARM_PYTHON``. WHAT is ``recbole-pixel``, the command line, or ``page``, which
follows a page (``page_runner.py``).
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from typing import Any

LONGEST_REQUEST = 2**20


def serve(path: str) -> None:
    """Forks for each request; the child answers with its exit code."""
    _import_what_takes_long()
    gc.freeze()  # a collection in a child would write to, and so copy, all that it shares
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        _reap()
        if os.fork() == 0:
            listener.close()
            _become(connection)
        connection.close()


def ask(path: str, what: str, arguments: list[str]) -> int:
    """The exit code of a program that the server at ``path`` starts for this process."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        asked = {"what": what, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
        socket.send_fds(connection, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
        answer = connection.recv(16)
    return int(answer) if answer else 1  # nothing is said by one that was killed


def _import_what_takes_long() -> None:
    import recbole_pixel.cli
    import recbole_pixel.quick_start
    import recbole_pixel.report.reporting
    import recbole_pixel.serve.loading
    import recbole_pixel.trainer  # noqa: F401


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _become(connection: socket.socket) -> None:
    """Runs what is asked for in this process, which ends with it."""
    request, places, *_ = socket.recv_fds(connection, LONGEST_REQUEST, 3)
    while not request.endswith(b"\n"):
        request += connection.recv(LONGEST_REQUEST)
    asked = json.loads(request)
    for number, place in enumerate(places):
        os.dup2(place, number)
        os.close(place)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.executable = os.environ.get("WARM_PYTHON", sys.executable)
    code = _code_of(asked)
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(str(code).encode())
    os._exit(0)


def _code_of(asked: dict[str, Any]) -> int:
    sys.argv = [asked["what"], *asked["arguments"]]
    try:
        if asked["what"] == "page":
            from page_runner import main
        else:
            from recbole_pixel.cli import main
        return main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2], sys.argv[3:]))
