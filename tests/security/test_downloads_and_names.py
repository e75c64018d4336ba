"""What a table of somebody's URLs, and names that lead elsewhere, cannot make this machine do."""

from __future__ import annotations

import gzip
import os
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from picture_server import body, redirect, serving
from worlds import random_rows, write_inter

from recbole_pixel.config import make_config
from recbole_pixel.config_files import SettingError, is_name
from recbole_pixel.convert import SourceTable, named_by_column
from recbole_pixel.store import ImageStore, build_image_store
from recbole_pixel.store.download import download_images
from recbole_pixel.store.download_decoding import Decoder, EncodingError
from recbole_pixel.store.download_options import DownloadOptions

LIMIT = 100_000


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def png(n_bytes: int = 0) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")
    return stream.getvalue() + bytes(n_bytes)


def fetched(folder: Path, urls: dict[str, str], allow_private: bool = True) -> dict[str, str]:
    """Reasons of what failed by item."""
    import json

    table = folder / "w.item"
    table.write_text("item_id:token\timage_url:token\n" + "".join(f"{item}\t{url}\n" for item, url in urls.items()))
    options = DownloadOptions(
        rate=1000.0, retries=0, max_bytes=LIMIT, total_timeout=10.0, allow_private_hosts=allow_private
    )
    with suppress(ValueError):  # none of them could be fetched
        download_images(table, folder / "images.lmdb", size=8, options=options, progress=False, workers=1)
    log = folder / "images.lmdb.failures.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return {line["item"]: line["reason"] for line in lines}


def test_bombs_in_content_encoding_stop_at_the_limit(server, tmp_path):
    bomb = gzip.compress(bytes(50 << 20))
    assert len(bomb) < LIMIT
    cases = {
        "gzip": (body(bomb, Content_Encoding="gzip"), "too_large"),
        "deflate": (body(zlib.compress(bytes(50 << 20)), Content_Encoding="deflate"), "too_large"),
        "twice": (body(gzip.compress(bomb), Content_Encoding="gzip, gzip"), "damaged_encoding"),
        "brotli": (body(b"\x1b\xff\xff\xff", Content_Encoding="br"), "damaged_encoding"),
        "zstd": (body(b"\x28\xb5\x2f\xfd", Content_Encoding="zstd"), "damaged_encoding"),
        "cut": (body(gzip.compress(png(500))[:-9], Content_Encoding="gzip"), "damaged_encoding"),
        "none": (body(png(LIMIT)), "too_large"),
        "endless promise": (body(b"", length=10**17), "too_large"),
    }
    urls = {name: server.add(f"/{number}", answer) for number, (name, (answer, _)) in enumerate(cases.items())}
    urls["good"] = server.add("/good", body(gzip.compress(png()), Content_Encoding="gzip"))
    urls["old"] = server.add("/old", body(zlib.compress(png())[2:-4], Content_Encoding="deflate"))
    assert fetched(tmp_path, urls) == {name: reason for name, (_, reason) in cases.items()}


def test_a_decoder_never_makes_more_than_it_may():
    decoder, bomb = Decoder("gzip"), gzip.compress(bytes(20 << 20))
    made = [len(decoder.decode(bomb[start : start + 1000], 500)) for start in range(0, 5000, 1000)]
    assert made == [500] * 5
    with pytest.raises(EncodingError, match="cut short"):
        decoder.finish()
    with pytest.raises(EncodingError, match=r"'x\\n\\x1b'"):
        Decoder("X\n\x1b")


PRIVATE = [
    "http://169.254.169.254/latest/meta-data/iam/", "http://localhost:{port}/x", "http://127.0.0.1:{port}/x",
    "http://[::1]:{port}/x", "http://0.0.0.0:{port}/x", "http://2130706433:{port}/x", "http://0x7f.1:{port}/x",
    "http://[::ffff:127.0.0.1]:{port}/x", "http://10.0.0.1/x", "http://192.168.0.1/x", "http://100.64.0.1/x",
    "http://[fe80::1%25eth0]/x", "http://metadata.localhost/x", "http://user:secret@127.0.0.1:{port}/x",
]  # fmt: skip


def test_private_addresses_are_not_asked_by_default(server, tmp_path):
    server.forget()
    server.add("/x", body(png()))
    urls = {f"i{number}": url.format(port=server.server_address[1]) for number, url in enumerate(PRIVATE)}
    assert set(fetched(tmp_path, urls, allow_private=False).values()) <= {"private_address", "malformed_url"}
    assert server.asked == []


def test_redirects_lead_to_no_other_scheme(server, tmp_path):
    urls = {
        scheme: server.add(f"/{number}", redirect(target))
        for number, (scheme, target) in enumerate(
            {
                "file": "file:///etc/passwd", "ftp": "ftp://127.0.0.1/x", "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
                "data": "data:image/png;base64,AAAA", "script": "javascript:alert(1)",
            }.items()
        )
    }  # fmt: skip
    found = fetched(tmp_path, urls)
    assert found.keys() == urls.keys()
    assert set(found.values()) <= {"refused_scheme", "malformed_url"}  # some httpx2 find no host in a data: or script


def test_a_public_answer_that_redirects_to_a_private_address_is_refused(server, tmp_path, monkeypatch):
    """The first server counts as public here; where it leads does not."""
    from recbole_pixel.store import download_addresses, download_http

    server.forget()
    server.add("/secret", body(png()))
    first = server.add("/first", redirect(f"http://127.0.0.2:{server.server_address[1]}/secret"))

    def is_public(address: str) -> bool:
        return address == "127.0.0.1"

    monkeypatch.setattr(download_addresses, "is_public", is_public)
    monkeypatch.setattr(download_http, "is_public", is_public)
    assert fetched(tmp_path, {"a": first}, allow_private=False) == {"a": "private_address"}
    assert [path for path, _ in server.asked] == ["/first"]


def test_tokens_are_keys_of_a_store_and_no_names_of_files(server, tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    url = server.add("/p", body(png()))
    tokens = ["../../../escaped", "/etc/escaped", "..\\escaped", "a/b/c", "..", "CON", "x" * 400]
    before = set(tmp_path.rglob("*"))
    fetched(inner, dict.fromkeys(tokens, url))
    made = set(tmp_path.rglob("*")) - before
    assert {path.relative_to(inner).parts[0] for path in made} == {"w.item", "images.lmdb"} | {
        path.name for path in inner.glob("images.lmdb.*")
    }


def test_a_table_names_pictures_below_its_folder_alone(tmp_path):
    inside, outside = tmp_path / "shop", tmp_path / "secret"
    for folder in (inside / "sub", outside, tmp_path / "shop2"):
        folder.mkdir(parents=True)
        (folder / "x.png").write_bytes(png())
    (inside / "link.png").symlink_to(outside / "x.png")
    (inside / "loop.png").symlink_to("loop.png")
    (inside / "away").symlink_to(outside)
    (inside / "near.png").symlink_to("sub/x.png")
    refused = ["../secret/x.png", str(outside / "x.png"), "sub/../../secret/x.png", "link.png", "away/x.png"]
    refused += ["../shop2/x.png"]
    read = ["sub/x.png", "sub/../sub/x.png", str(inside / "sub" / "x.png"), "near.png", "../shop/sub/x.png"]
    gone = ["loop.png", "../secret/none.png"]
    table = inside / "items.csv"
    table.write_text("item,photo\n" + "".join(f"{name},{name}\n" for name in [*refused, *read, *gone]))
    source = named_by_column(SourceTable(table), "item", "photo")
    report = build_image_store(source, tmp_path / "store", size=8, progress=False)
    assert ImageStore(tmp_path / "store").tokens() == sorted(read)
    assert sorted(report.bad) == sorted(refused)
    assert all(f"leads out of {inside}: refused; name a folder" in reason for reason in report.bad.values())


NOT_NAMES = ["../w", "w/../../x", "/etc", "..", ".", "", "a\\b", "a\0b", "a\nb", "\x1b[2J", 5, None]


@pytest.mark.parametrize("name", NOT_NAMES, ids=range(len(NOT_NAMES)))
def test_datasets_are_named_not_reached(name):
    assert not is_name(name)


def test_a_dataset_by_way_of_another_folder_is_refused(tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(0))
    (tmp_path / "inner").mkdir()
    with pytest.raises(SettingError, match=r"dataset is '\.\./w'; expected the name of a folder in data_path"):
        make_config("PixelSASRec", "../w", settings={**settings, "data_path": str(tmp_path / "inner")})
    assert make_config("PixelSASRec", "w", settings=settings)["dataset"] == "w"


def test_folders_of_runs_lie_in_their_folder_whatever_they_are_called(tmp_path):
    from recbole_pixel.report.run_folder import new_folder

    place = tmp_path / "deep" / "result"
    for checkpoint in (None, "saved/x.pth", "/abs/PixelSASRec-1.pth", "saved/...pth"):
        for dataset in ("../../../escaped", "/etc/x", "..", "a\\..\\b", "ok"):
            made = new_folder(place, {"model": "PixelSASRec", "dataset": dataset, "checkpoint": checkpoint})
            assert made.resolve().parent == place.resolve()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def planted(folder: Path, name: str) -> Path:
    """A link of somebody else under the temporary name of a file, to a file of the victim's."""
    victim = folder / "victim"
    victim.write_text("precious")
    (folder / name).symlink_to(victim)
    return victim


def test_temporary_files_are_not_written_through_links(tmp_path):
    from recbole_pixel.checkpoint import write_checkpoint
    from recbole_pixel.quick_start import write_result
    from recbole_pixel.report import reporting
    from recbole_pixel.serve.exporting import export
    from recbole_pixel.store.durable import write_json

    writers = {
        "result.json.partial": lambda folder: write_result({"a": 1}, folder / "result.json"),
        "manifest.json.tmp": lambda folder: write_json(folder / "manifest.json", {"a": 1}),
        f"v.npy.{os.getpid()}.partial": lambda folder: export(np.ones((1, 2)), ["a"], folder / "v.npy", "npy"),
        f"c.pth.{os.getpid()}.partial": lambda folder: write_checkpoint({"a": 1}, folder / "c.pth"),
        "report.html.partial": lambda folder: reporting._written(folder / "report.html", "<p>"),
    }
    for number, (name, write) in enumerate(writers.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        victim = planted(folder, name)
        write(folder)
        assert victim.read_text() == "precious", name
        assert not os.path.lexists(folder / name)
