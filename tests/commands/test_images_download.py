"""`images download` as a user types it: exit codes, files, a run that is interrupted or killed."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from picture_server import PictureServer, picture, serving, status
from PIL import Image

import recbole_pixel
from recbole_pixel.cli import main
from recbole_pixel.store import ImageStore

N = 400  # more than one batch of the store's writer


def png(i: int) -> bytes:
    """A picture like no other."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (i % 256, i // 256, 99)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with serving() as running:
        yield running


def write_items(folder: Path, urls: dict[str, str], column: str = "image_url") -> Path:
    """The dataset `shop` in `folder`; its store's path."""
    (folder / "shop").mkdir(exist_ok=True)
    rows = "".join(f"{token}\t{url}\n" for token, url in urls.items())
    (folder / "shop" / "shop.item").write_text(f"item_id:token\t{column}:token\n" + rows)
    return folder / "shop" / "images.lmdb"


def arguments(data_path: Path, *more: object) -> list[str]:
    fixed = ["--dataset", "shop", "--data_path", data_path, "--size", 8, "--quiet", "--rate", 2000, "--backoff", 0.01]
    return ["images", "download", *map(str, [*fixed, "--allow-private-hosts", *more])]


def test_some_fail_all_fail_none_fail(server: PictureServer, tmp_path: Path, capsys):
    urls = {f"i{i}": server.add(f"/{i}.png", picture(png(i))) for i in range(3)}
    store = write_items(tmp_path, {**urls, "gone": server.url("/none"), "no": server.add("/no", status(500))})
    assert main(arguments(tmp_path, "--retries", 1)) == 0
    out = capsys.readouterr().out
    assert "3 pictures fetched, 0 already there, 2 failed, 0 items without a URL; 6 requests" in out
    assert f"http_404: 1 items, e.g. 'gone' ({server.url('/none')}: 404 Not Found)" in out
    lines = [json.loads(line) for line in Path(f"{store}.failures.jsonl").read_text().splitlines()]
    assert {line["item"]: (line["reason"], line["tries"]) for line in lines} == {
        "gone": ("http_404", 1),
        "no": ("http_500", 2),
    }
    assert main(arguments(tmp_path, "--retries", 0)) == 1  # one was asked for, none came
    assert "3 already there" in capsys.readouterr().out
    server.add("/no", picture(png(9)))
    server.add("/none", picture(png(8)))
    assert main(arguments(tmp_path, "--retry-failed")) == 0
    assert main(arguments(tmp_path)) == 0
    assert "up to date: 5 pictures, nothing to fetch" in capsys.readouterr().out
    write_items(tmp_path, {"x": server.url("/x")})
    assert main(arguments(tmp_path, "--out", tmp_path / "other")) == 2
    assert "none of the 1 pictures" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_options_reach_the_download(server: PictureServer, tmp_path: Path, capsys):
    store = write_items(tmp_path, {"a": server.add("/a", picture(png(1))), "b": server.url("/b")}, "cover")
    assert main(arguments(tmp_path)) == 2
    assert "--url-column" in capsys.readouterr().err
    more = ("--url-column", "cover", "--keep-original", "--user-agent", "me", "--out", tmp_path / "s")
    assert main(arguments(tmp_path, *more)) == 0
    assert ImageStore(tmp_path / "s").read("a") == png(1)
    assert not store.exists()
    assert {seen["User-Agent"] for seen in server.headers_seen} == {"me"}
    assert main(["images", "download", "--dataset", "shop", "--data_path", str(tmp_path), "--url-column", "cover"]) == 2
    assert "private_address: 2 items" in capsys.readouterr().err
    assert main(arguments(tmp_path, "--rate", 0)) == 2
    assert "rate is 0.0, expected more than 0" in capsys.readouterr().err
    assert len(server.asked) == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_cut_off_is_gone_on_with(server: PictureServer, tmp_path: Path, how: signal.Signals, capsys):
    urls = {f"i{i}": server.add(f"/{i}.png", picture(png(i))) for i in range(N)}
    store = write_items(tmp_path, {**urls, "gone": server.url("/gone")})
    root = str(Path(recbole_pixel.__file__).parents[1])
    running = subprocess.Popen(
        [sys.executable, "-m", "recbole_pixel", *arguments(tmp_path, "--rate", 400, "--keep-original")],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(server.asked) < 330 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    running.send_signal(how)
    said, _ = running.communicate(timeout=60)
    n_asked = server.counts().total() - server.counts()["/gone"]
    assert n_asked < N
    assert not store.exists()
    capsys.readouterr()
    assert main(arguments(tmp_path, "--keep-original")) == 0
    report = capsys.readouterr().out
    n_written, n_present = (int(n) for n in re.search(r"(\d+) pictures fetched, (\d+) already", report).groups())
    assert n_written + n_present == N
    assert server.counts().total() - server.counts()["/gone"] == n_asked + n_written  # the stored were not asked for
    if how is signal.SIGINT:
        assert running.returncode == 130
        assert "run the same command again" in said
        assert n_present >= n_asked - 32  # all but what was under way
    else:
        assert n_present in (0, 256)  # whole batches
    main(["images", "check", "--store", str(store), "--quiet"])
    assert f"{N} pictures" in (checked := capsys.readouterr().out)
    assert "corrupt: 0" in checked
    assert {token: ImageStore(store).read(token) for token in urls} == {f"i{i}": png(i) for i in range(N)}
