"""Pictures by URL into a store: from a server that does all a server should not."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from download_world import QUICK, Shop
from picture_server import (
    PictureServer,
    body,
    drip,
    endless,
    first,
    hang_up,
    picture,
    redirect,
    serving,
    status,
    truncated,
)
from PIL import Image
from store_world import DictSource, encoded, plain, shade

from recbole_pixel.store import ImageStore, build_image_store, decode_image
from recbole_pixel.store.download_options import DownloadOptions

RED = plain((220, 20, 30))


@pytest.fixture(scope="module")
def _server() -> Iterator[PictureServer]:
    with serving() as server:
        yield server


@pytest.fixture
def server(_server: PictureServer, monkeypatch: pytest.MonkeyPatch) -> PictureServer:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    _server.forget()
    return _server


@pytest.fixture
def shop(tmp_path: Path, server: PictureServer) -> Shop:
    return Shop(tmp_path, server)


@pytest.fixture
def closed_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def noise(side: int = 64) -> bytes:
    """A JPEG that is long for its size, so that it can be cut in many places."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), "JPEG", quality=95)


def test_the_store_is_the_one_that_a_build_makes_of_the_same_pictures(shop: Shop, tmp_path: Path):
    files = shop.add_pictures(7)
    files["jpeg"] = noise()
    shop.add("jpeg", picture(files["jpeg"]))
    report = shop.fetch(fit="pad")
    assert (report.n_written, report.n_present, report.n_requests) == (8, 0, 8)
    build_image_store(DictSource(files), tmp_path / "built", size=16, fit="pad", progress=False)
    built = ImageStore(tmp_path / "built")
    assert shop.store().fingerprint == built.fingerprint
    assert shop.store().manifest["size"] == 16
    assert not shop.failures.exists()
    assert report.n_bytes == sum(map(len, files.values()))


def test_originals_are_kept_byte_for_byte(shop: Shop):
    files = shop.add_pictures(3)
    shop.fetch(keep_original=True)
    assert {token: shop.store().read(token) for token in shop.store().tokens()} == files


def test_what_is_not_a_whole_picture_is_left_out_and_named(shop: Shop):
    cases = [
        (status(404), "http_404", 1),
        (status(410), "http_410", 1),
        (status(403), "http_403", 1),
        (status(500), "http_500", 3),
        (status(206), "http_206", 1),
        (status(304), "http_304", 1),
        (truncated(RED[:-5], len(RED)), "truncated", 3),
        (truncated(RED, len(RED) + 1), "truncated", 3),
        (hang_up, "connection_lost", 3),
        (body(b"<!doctype html><p>not here", Content_Type="text/html"), "not_a_picture", 1),
        (body(b"<svg xmlns='x'/>", Content_Type="image/svg+xml"), "not_a_picture", 1),
        (body(b"\x00\x01\x02\x03" * 30, Content_Type="image/jpeg"), "damaged_picture", 1),
        (body(b""), "empty", 1),
        (body(RED, length=None, Content_Encoding="gzip"), "damaged_encoding", 1),
        (endless, "too_large", 1),
        (truncated(b"", 1 << 30), "too_large", 1),
        (redirect("file:///etc/passwd"), "refused_scheme", 1),
        (redirect("ftp://127.0.0.1/a"), "refused_scheme", 1),
        (redirect("http://[::1/a"), "malformed_url", 1),
    ]
    shop.add_pictures(1)
    for i, (answer, _, _) in enumerate(cases):
        shop.add(f"bad{i}", answer)
    shop.add("loop", redirect("/loop"))
    report = shop.fetch()
    expected = {f"bad{i}": reason for i, (_, reason, _) in enumerate(cases)} | {"loop": "too_many_redirects"}
    assert shop.logged() == expected
    assert report.n_failed == Counter(expected.values())
    n_requests = {f"/bad{i}": n for i, (_, _, n) in enumerate(cases)} | {"/loop": 1 + 5, "/i0": 1}
    assert shop.server.counts() == n_requests
    assert shop.store().tokens() == ["i0"]
    assert f"http_500: 1 items, e.g. 'bad3' ({shop.urls['bad3']}: 500 Internal Server Error)" in str(report)


def test_slow_answers_are_cut_off_wherever_they_are_slow(shop: Shop):
    shop.add("body", drip(b"x" * 100, 0.1))
    shop.add("head", drip(b"x" * 100, 0.1, in_head=True))
    shop.add("silent", drip(b"x" * 3, 1.8))
    shop.add("late", first(1, drip(b"x" * 100, 0.1), picture(RED)))
    report = shop.fetch(retries=1, read_timeout=0.9, total_timeout=1.5)
    assert (report.n_written, dict(report.n_failed)) == (1, {"timeout": 3})
    assert shop.server.counts() == {"/body": 2, "/head": 2, "/silent": 2, "/late": 2}
    details = shop.failures.read_text()
    assert details.count("not complete after 1.5 s") == 2
    assert details.count("ReadTimeout") == 1


def test_urls_that_lead_nowhere_are_not_asked(shop: Shop):
    shop.add_pictures(1)
    expected = {
        "file:///etc/passwd": "refused_scheme",
        "data:image/png;base64,AAAA": "refused_scheme",
        "//cdn/a.jpg": "malformed_url",
        "None": "malformed_url",
        "http://[::1/a": "malformed_url",
        "http://127.0.0.1:99999/a": "malformed_url",
    }
    shop.urls |= {url: url for url in expected}
    report = shop.fetch()
    assert shop.logged() == expected
    assert report.n_written == 1


def test_a_name_that_does_not_resolve(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    def _unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    shop.add("a", picture(RED))
    shop.urls["b"] = "http://no.such.host.invalid/a"
    monkeypatch.setattr(socket, "getaddrinfo", _unknown)
    report = shop.fetch(retries=3)
    assert (report.n_written, dict(report.n_failed), report.n_requests) == (1, {"dns": 1}, 2)


def test_a_closed_port_is_a_failure_that_may_pass(shop: Shop, closed_port: int):
    shop.add_pictures(1)
    shop.urls["a"] = f"http://127.0.0.1:{closed_port}/a"
    report = shop.fetch()
    assert dict(report.n_failed) == {"connection_refused": 1}
    assert report.n_requests == 1 + 3


def test_https_is_not_spoken_to_who_does_not_speak_it(shop: Shop):
    shop.add_pictures(1)
    shop.urls["a"] = shop.urls["i0"].replace("http:", "https:")
    report = shop.fetch(retries=0)
    assert (dict(report.n_failed), shop.server.counts()) == ({"tls": 1}, {"/i0": 1})


def test_a_jpeg_cut_anywhere_never_enters(shop: Shop):
    whole = noise()
    for at in (2, 100, 700, len(whole) // 2, len(whole) - 300):
        shop.add(f"cut{at}", body(whole[:at], Content_Type="image/jpeg"))
        shop.add(f"unmarked{at}", body(whole[:at], length=None))  # the end of the connection is all the end there is
    shop.add("whole", picture(whole))
    report = shop.fetch()
    assert shop.store().tokens() == ["whole"]
    assert dict(report.n_failed) == {"damaged_picture": 10}
    assert np.array_equal(decode_image(shop.store().read("whole")).shape, (16, 16, 3))


def test_a_picture_without_a_length_is_whole_when_it_decodes(shop: Shop):
    shop.add("a", body(RED, length=None))
    shop.fetch(keep_original=True)
    assert shop.store().read("a") == RED


def test_what_passes_is_tried_again_later_and_later(shop: Shop):
    shop.add("a", first(2, status(500), picture(RED)))
    shop.add("b", first(1, truncated(RED[:9], len(RED)), picture(RED)))
    report = shop.fetch(backoff=0.1)
    assert (report.n_written, report.n_requests, report.n_failed.total()) == (2, 5, 0)
    times = shop.server.times("/a")
    assert times[1] - times[0] >= 0.05
    assert times[2] - times[1] >= 0.1


def test_a_server_that_asks_for_a_pause_has_it_from_all_requests(shop: Shop):
    shop.add("a", first(1, status(429, Retry_After=1), picture(RED)))
    for i in range(6):
        shop.add(f"i{i}", picture(RED))
    shop.fetch(connections=1)
    begin = shop.server.times("/a")[0]
    later = sorted(at - begin for _, at in shop.server.asked if at > begin)
    assert len(shop.server.asked) == 8
    assert later[0] >= 0.98
    assert len(shop.store()) == 7


def test_no_pause_is_longer_than_max_wait(shop: Shop):
    shop.add("a", first(1, status(503, Retry_After=5000), picture(RED)))
    assert shop.fetch(max_wait=0.2).n_written == 1
    times = shop.server.times("/a")
    assert 0.2 <= times[1] - times[0] < 60


def test_redirects_are_followed(shop: Shop):
    shop.add("a", redirect("/b", 301))
    shop.server.add("/b", redirect(shop.server.url("/c?d=%20e"), 307))
    shop.server.add("/c?d=%20e", picture(RED))
    assert shop.fetch(keep_original=True, max_redirects=2).n_written == 1
    assert shop.store().read("a") == RED


def test_no_host_is_asked_by_more_than_per_host_at_a_time(shop: Shop):
    shop.add_pictures(12, after=0.05)
    shop.fetch(per_host=3)
    assert shop.server.most_active == 3


def test_hosts_are_capped_one_by_one_and_all_together(shop: Shop):
    shop.add_pictures(12, after=0.1)
    odd = {token: url.replace("127.0.0.1", "localhost") for token, url in shop.urls.items() if int(token[1:]) % 2}
    shop.urls |= odd
    shop.fetch(per_host=1)
    assert shop.server.most_active == 2
    shop.server.forget_requests()
    shop.path.rename(shop.path.with_name("other"))
    shop.fetch(per_host=8, connections=3)
    assert shop.server.most_active == 3


def test_requests_begin_no_faster_than_the_rate(shop: Shop):
    shop.add_pictures(11)
    begin = time.monotonic()
    shop.fetch(rate=25.0)
    assert len(shop.server.asked) == 11
    assert all(at >= begin + i / 25 for i, (_, at) in enumerate(shop.server.asked))


def test_items_that_share_a_picture_ask_for_it_once(shop: Shop):
    shop.add("a", picture(RED))
    shop.add("gone", status(404))
    shop.urls |= {"b": shop.urls["a"], "c": shop.urls["a"], "d": shop.urls["gone"]}
    report = shop.fetch()
    assert shop.server.counts() == {"/a": 1, "/gone": 1}
    assert shop.store().tokens() == ["a", "b", "c"]
    assert (report.n_written, dict(report.n_failed)) == (3, {"http_404": 2})
    assert shop.logged() == {"gone": "http_404", "d": "http_404"}


def test_a_second_run_asks_for_what_failed_but_not_for_what_is_gone(shop: Shop):
    shop.add_pictures(2)
    shop.add("gone", first(2, status(404), picture(RED)))
    shop.add("torn", first(1, body(b"<html>"), picture(RED)))
    assert shop.fetch().n_failed == {"http_404": 1, "not_a_picture": 1}
    report = shop.fetch()
    assert (report.n_written, report.n_present, report.n_permanent, report.n_requests) == (1, 2, 1, 1)
    assert shop.logged() == {"gone": "http_404"}
    assert "--retry-failed" in str(report)
    assert shop.fetch().is_up_to_date
    assert shop.fetch(retry_failed=True).n_failed == {"http_404": 1}
    assert shop.fetch(retry_failed=True).n_written == 1
    assert shop.server.counts() == {"/i0": 1, "/i1": 1, "/torn": 2, "/gone": 3}
    assert len(shop.store()) == 4
    assert not shop.failures.exists()


def test_nothing_to_do_leaves_the_store_alone(shop: Shop):
    shop.add_pictures(3)
    shop.fetch()
    before = (shop.path / "data.mdb").stat()
    report = shop.fetch()
    after = (shop.path / "data.mdb").stat()
    assert "3 pictures, nothing to fetch" in str(report)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(shop.server.asked) == 3


def test_only_new_items_and_changed_urls_are_asked_for(shop: Shop):
    shop.add_pictures(4)
    shop.fetch(keep_original=True)
    shop.add("i9", picture(RED))
    shop.urls["i1"] = shop.server.add("/new", picture(RED))
    shop.urls["i2"] = shop.server.url("/absent")
    shop.urls["i3"] = ""
    report = shop.fetch(keep_original=True)
    assert (report.n_written, report.n_present, report.n_items, report.n_without_url) == (2, 1, 5, 1)
    assert shop.store().read("i1") == shop.store().read("i9") == RED
    assert shop.store().read("i2") == plain(shade(2))  # the older picture stays until there is a newer one
    assert len(shop.server.asked) == 4 + 3


def test_pictures_of_items_that_left_stay_until_pruned(shop: Shop):
    shop.add_pictures(4)
    shop.fetch()
    del shop.urls["i3"], shop.urls["i0"]
    report = shop.fetch()
    assert (report.n_orphaned, len(shop.store())) == (2, 4)
    assert "2 pictures belong to no item" in str(report)
    report = shop.fetch(prune=True)
    assert (report.n_pruned, shop.store().tokens()) == (2, ["i1", "i2"])
    assert len(shop.server.asked) == 4


def test_a_host_that_is_down_is_given_up_and_others_are_not(shop: Shop, closed_port: int):
    shop.add_pictures(5)
    shop.urls |= {f"x{i}": f"http://localhost:{closed_port}/{i}" for i in range(9)}
    report = shop.fetch(retries=0, per_host=1, give_up_after=3)
    assert (report.n_written, dict(report.n_failed)) == (5, {"connection_refused": 3})
    assert dict(report.not_asked) == {"localhost": 6}
    assert "localhost does not answer, or refuses: 6 items" in str(report)
    assert shop.store().manifest["n_unread"] == 9
    assert shop.fetch(retries=0, per_host=1, give_up_after=3).n_failed.total() == 3


def test_pictures_that_are_gone_are_no_reason_to_give_up_a_host(shop: Shop):
    for i in range(9):
        shop.add(f"gone{i}", status(404))
    shop.add("z", picture(RED))
    report = shop.fetch(give_up_after=2, per_host=1)
    assert (report.n_written, dict(report.n_failed), report.not_asked.total()) == (1, {"http_404": 9}, 0)


def test_a_store_made_in_another_way_is_not_replaced(shop: Shop, tmp_path: Path):
    shop.add_pictures(2)
    shop.fetch()
    with pytest.raises(ValueError, match=r"'size': 16.*'size': 32.* --out"):
        shop.fetch(size=32)
    build_image_store(DictSource({"i0": RED}), tmp_path / "built", size=16, progress=False)
    shop.path = tmp_path / "built"
    with pytest.raises(ValueError, match=r"built was made with {'source': 'dict'}"):
        shop.fetch()
    assert ImageStore(shop.path).tokens() == ["i0"]
    assert len(shop.server.asked) == 2


def test_no_store_is_made_of_nothing(shop: Shop):
    shop.add("a", status(404))
    shop.add("b", status(403))
    with pytest.raises(ValueError, match=r"none of the 2 pictures .* could be fetched: .*http_40") as error:
        shop.fetch()
    assert "http_404: 1 items" in str(error.value)
    assert "http_403: 1 items" in str(error.value)
    assert sorted(path.name for path in shop.items.parent.iterdir()) == ["images.lmdb.failures.jsonl", "shop.item"]
    shop.add("b", picture(RED))
    assert shop.fetch(size=20).n_written == 1  # nothing was kept, so that nothing is lost to another size


def test_a_run_without_fruit_says_so(shop: Shop):
    shop.add_pictures(1)
    shop.add("a", status(404))
    assert not shop.fetch().is_fruitless
    assert not shop.fetch().is_fruitless  # what is gone is not asked for
    shop.add("b", status(500))
    report = shop.fetch(retries=0)
    assert report.is_fruitless
    assert len(shop.store()) == 1


def test_private_addresses_are_not_asked(shop: Shop):
    shop.add_pictures(2)
    shop.urls["c"] = shop.urls["i0"].replace("127.0.0.1", "localhost")
    shop.urls["d"] = shop.urls["i0"].replace("127.0.0.1", "2130706433")
    with pytest.raises(ValueError, match=r"private_address: 4 items.*--allow-private-hosts"):
        shop.fetch(allow_private_hosts=False)
    assert not shop.server.asked


def test_names_of_private_addresses_are_not_asked(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """What the name resolves to when the connection is made is what counts, whatever it resolved to before."""
    monkeypatch.setattr(socket, "getaddrinfo", _everything_is_here(socket.getaddrinfo))
    shop.add_pictures(1)
    shop.urls["i0"] = shop.urls["i0"].replace("127.0.0.1", "pictures.example")
    with pytest.raises(ValueError, match="private_address: 1 items"):
        shop.fetch(allow_private_hosts=False)
    assert not shop.server.asked
    assert shop.fetch().n_written == 1  # the name does lead to the server


def _everything_is_here(resolve):
    return lambda host, *arguments, **options: resolve("127.0.0.1", *arguments, **options)


def test_proxies_of_the_environment_are_used(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", shop.server.url(""))
    url = "http://pictures.example/a.png"
    shop.server.add(url, picture(RED))  # a proxy is asked for the whole URL
    shop.urls = {"a": url, "b": "http://127.0.0.1/b.png"}
    report = shop.fetch(allow_private_hosts=False)
    assert shop.server.counts() == {url: 1}
    assert (report.n_written, dict(report.n_failed)) == (1, {"private_address": 1})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    shop.add("b", picture(RED))
    assert shop.fetch().n_written == 1
    assert shop.server.counts() == {url: 1, "/b": 1}


def test_servers_see_who_asks_and_set_no_cookies(shop: Shop):
    shop.add("a", redirect("/b"))
    shop.server.add("/b", body(RED, Set_Cookie="id=1"))
    shop.add("c", first(1, status(500, Set_Cookie="id=2"), picture(RED)))
    shop.fetch(per_host=1)
    assert all(seen["User-Agent"].startswith("recbole-pixel/") for seen in shop.server.headers_seen)
    assert not any("Cookie" in seen for seen in shop.server.headers_seen)
    shop.add("d", picture(RED))
    shop.fetch(user_agent="lab of pictures")
    assert shop.server.headers_seen[-1]["User-Agent"] == "lab of pictures"


def test_a_token_that_no_store_can_have_is_a_failure_of_its_own(shop: Shop):
    shop.add_pictures(1)
    shop.urls["x" * 600] = shop.urls["i0"]
    report = shop.fetch()
    assert (report.n_written, dict(report.n_failed)) == (1, {"item_token": 1})


def test_options_out_of_range_are_refused():
    for wrong in (
        {"rate": 0},
        {"connections": 0},
        {"retries": -1},
        {"read_timeout": float("nan")},
        {"user_agent": "é"},
    ):
        name = next(iter(wrong))
        with pytest.raises(ValueError, match=f"{name} is .*expected"):
            DownloadOptions(**{**QUICK, **wrong})
