"""Which kinds of pictures can be read."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from recbole_pixel.doctor.findings import ABSENT, DEGRADED, Finding
from recbole_pixel.doctor.trying import tried

TOPIC = "Pictures"

CODECS = """
from PIL import features
for name in ("jpg", "webp", "avif", "jpg_2000", "zlib", "libtiff"):
    try:
        found[name] = bool(features.check(name))
    except ValueError:
        found[name] = False
found["turbo"] = bool(features.check_feature("libjpeg_turbo"))
"""

NEEDED = {"jpg": "JPEG", "zlib": "PNG", "webp": "WebP"}


def look() -> Iterator[Finding]:
    """Codecs of Pillow, and of what may stand beside it."""
    found, _ = tried(CODECS)
    if not found:
        return  # Pillow is not there, which was said before, or broken
    for key, name in NEEDED.items():
        if found.get(key):
            yield Finding(TOPIC, name, "read" + (" (libjpeg-turbo)" if key == "jpg" and found.get("turbo") else ""))
        else:
            remedy = "This Pillow was built without it: pip install --force-reinstall pillow"
            yield Finding(TOPIC, name, "not read", DEGRADED, remedy)
    yield _further("AVIF", found.get("avif"), "pillow>=11.3")
    yield _further("HEIC", find_spec("pillow_heif") is not None, "pillow-heif")
    if find_spec("simplejpeg") is not None:
        yield Finding(TOPIC, "fast JPEG", "simplejpeg")


def _further(name: str, is_read: bool | None, package: str) -> Finding:
    if is_read:
        return Finding(TOPIC, name, "read")
    return Finding(TOPIC, name, f"not read; such files are reported as bad (pip install '{package}')", ABSENT)
