"""Which URLs a table may make a machine ask."""

from __future__ import annotations

import pytest

from recbole_pixel.store.download_addresses import host_of, is_public, proxy_of, url_refusal


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address: str, expected: bool):
    assert is_public(address) is expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://a.example/b.jpg", None),
        ("HTTPS://a.example:8443/b.jpg?c=d", None),
        ("http://93.184.216.34/", None),
        ("http://localhost/", "private_address"),
        ("http://LOCALHOST.:80/", "private_address"),
        ("http://x.localhost/", "private_address"),
        ("http://169.254.169.254/latest/meta-data", "private_address"),
        ("http://[::1]/", "private_address"),
        ("http://[::ffff:10.0.0.1]/", "private_address"),
        ("http://2130706433/", "private_address"),
        ("http://0x7f.1/", "private_address"),
        ("http://user:word@10.0.0.1/", "private_address"),
        ("gopher://a.example/", "refused_scheme"),
        ("javascript:alert(1)", "refused_scheme"),
        ("http:///a.jpg", "malformed_url"),
        ("a.example/b.jpg", "malformed_url"),
        ("http://a.example:port/", "malformed_url"),
    ],
)
def test_refused_urls(url: str, reason: str | None):
    refusal = url_refusal(url, allow_private=False)
    assert (refusal and refusal.reason) == reason
    if reason in (None, "private_address"):
        assert url_refusal(url, allow_private=True) is None
    assert refusal is None or not (refusal.is_transient or refusal.is_of_host)


def test_hosts_are_told_apart_by_name_alone():
    assert host_of("http://user@A.Example:81/x") == host_of("https://a.example/y") == "a.example"
    assert host_of("http://[::1/") == host_of("file:///x") == ""


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert proxy_of("http://a.example/") is None
    monkeypatch.setenv("HTTP_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", ".inside.example")
    assert proxy_of("http://a.example/") == "http://proxy:3128"
    assert proxy_of("https://a.example/") is None
    assert proxy_of("http://a.inside.example/") is None
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    assert proxy_of("https://a.example/") == "http://all:1"
