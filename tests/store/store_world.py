"""Pictures and stores small enough to make anew for every test."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import recbole_pixel

RED, BLUE = (220, 20, 30), (20, 30, 220)


class DictSource:
    """Pictures from a dict; notes which were read."""

    def __init__(self, pictures: dict[str, bytes], name: str = "dict") -> None:
        self.pictures, self.name, self.was_read = pictures, name, []

    def tokens(self) -> list[str]:
        return list(self.pictures)

    def read(self, token: str) -> bytes:
        self.was_read.append(token)
        return self.pictures[token]

    def fingerprint(self) -> str:
        return repr(sorted((token, len(data), hash(data)) for token, data in self.pictures.items()))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def plain(colour: tuple[int, int, int], side: int = 32) -> bytes:
    """A PNG of one colour."""
    return encoded(Image.new("RGB", (side, side), colour))


def shade(i: int) -> tuple[int, int, int]:
    """The colour of item `i`; far enough from its neighbours to survive JPEG."""
    return (i * 9) % 256, (255 - i * 5) % 256, (i * 37) % 256


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python of its own that runs `script` with this package."""
    root = str(Path(recbole_pixel.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(Path(__file__).parent)])}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def assert_colour(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 3) -> None:
    """All pixels are of one colour."""
    difference = np.abs(pixels.astype(int) - np.array(colour))
    assert difference.max() <= tolerance, f"expected {colour}, found {pixels.reshape(-1, 3).mean(0)}"
