"""Which URLs and which addresses a table of items may make this machine ask, and through which proxy."""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from urllib.parse import urlsplit

from recbole_pixel.store.download_outcome import Failure

SCHEMES = ("http", "https")
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def url_refusal(url: str, allow_private: bool) -> Failure | None:
    """Why a URL is not asked, None if it may be; looks at the text alone, nothing is resolved."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return Failure("malformed_url", str(error))
    if parts.scheme and parts.scheme not in SCHEMES:
        return Failure("refused_scheme", f"{parts.scheme}: is not asked, only {' and '.join(SCHEMES)}")
    if not parts.scheme or not host:
        return Failure("malformed_url", "expected http://HOST/... or https://HOST/...")
    if not allow_private and _names_private_host(host):
        return private_address(host)
    return None


def private_address(host: str) -> Failure:
    """The failure of a host that lies in a private network."""
    return Failure("private_address", f"{host} is not a public address; --allow-private-hosts asks it nevertheless")


def is_public(address: str) -> bool:
    """False for loopback, private, link-local, reserved and multicast addresses, also where IPv6 wraps IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else None)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def host_of(url: str) -> str:
    """The host in lower case, the unit of politeness; empty if the URL has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def proxy_of(url: str) -> str | None:
    """The proxy that the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) names for a URL."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(urlsplit(url).scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(host_of(url)):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _names_private_host(host: str) -> bool:
    """Whether the name itself says so; what a name resolves to shows when the connection stands."""
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not is_public(name)
    except ValueError:
        pass
    try:  # 2130706433, 0x7f.1 and the like, which resolvers take for addresses
        return not is_public(socket.inet_ntoa(socket.inet_aton(name)))
    except (OSError, UnicodeError):
        return False
