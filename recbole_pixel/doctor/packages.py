"""Which packages are installed, by their metadata: nothing is imported."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from recbole_pixel.doctor.findings import ABSENT, BROKEN, DEGRADED, Finding

TOPIC = "Versions"
PYTHON = ((3, 10), (3, 13))
RECBOLE = "1.2.1"

NEEDED = {
    "torch": "2.6", "torchvision": "0.21", "timm": "1.0.31", "transformers": "4.57", "peft": "0.18", "numpy": "1.24",
    "pandas": "2.2", "scipy": "1.8", "scikit-learn": "1.1", "lmdb": "1.4", "pillow": "10.1", "safetensors": "0.4",
    "polars": "1.38", "pyarrow": "15", "jinja2": "3.1", "httpx2": "2.0", "bm25s": "0.3", "simplejpeg": "1.7",
}  # fmt: skip
"""What every installation has, and the oldest version that is supported; tests compare it with setup.cfg."""

OPTIONAL = {
    "faiss-cpu": "export --what index, features quantize --backend faiss",
    "usearch": "export --what index",
    "optuna": "tune",
    "hyperopt": "tune --engine hyperopt",
    "bitsandbytes": "vlm_quantise: 4bit",
    "pillow-heif": "pictures in HEIC",
}
"""What some commands ask for, and which."""


def look() -> Iterator[Finding]:
    """Versions of this package, of Python, and of what is needed or may be asked for."""
    from recbole_pixel import __version__

    yield Finding(TOPIC, "recbole_pixel", __version__)
    yield _python()
    yield _recbole()
    for name, oldest in NEEDED.items():
        yield _needed(name, oldest)
    for name, wants in OPTIONAL.items():
        found = installed(name)
        yield Finding(TOPIC, name, found) if found else Finding(TOPIC, name, f"not installed (for {wants})", ABSENT)


def installed(name: str) -> str:
    """The version of a distribution; empty where it is not installed."""
    try:
        return version(name) or ""
    except PackageNotFoundError:
        return ""


def numbers(text: str) -> tuple[int, ...]:
    """A version's numbers: ``2.15.0+cpu`` is 2, 15, 0."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def _python() -> Finding:
    found, (first, last) = sys.version_info[:2], PYTHON
    value = f"{platform.python_version()} on {platform.platform()}"
    if found < first:
        return Finding(TOPIC, "python", value, BROKEN, "Take Python 3.10 or newer")
    if found > last:
        return Finding(TOPIC, "python", value, DEGRADED, "Newer than any that was tried: 3.10 to 3.13 were")
    return Finding(TOPIC, "python", value)


def _recbole() -> Finding:
    found, line = installed("recbole"), f"pip install --no-deps recbole=={RECBOLE}"
    if not found:
        return Finding(TOPIC, "recbole", "not installed", BROKEN, line)
    if found != RECBOLE:
        return Finding(TOPIC, "recbole", found, DEGRADED, f"Only {RECBOLE} was tried: {line}")
    return Finding(TOPIC, "recbole", found)


def _needed(name: str, oldest: str) -> Finding:
    found = installed(name)
    if not found:
        return Finding(TOPIC, name, "not installed", BROKEN, f"pip install '{name}>={oldest}'")
    if numbers(found) < numbers(oldest):
        return Finding(TOPIC, name, found, BROKEN, f"{oldest} or newer is needed: pip install '{name}>={oldest}'")
    if name == "pandas" and numbers(found)[0] >= 4:
        return Finding(TOPIC, name, found, DEGRADED, "Newer than any that was tried: pip install 'pandas<4'")
    return Finding(TOPIC, name, found)
