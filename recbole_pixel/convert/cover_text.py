"""The title on a drawn cover: in its spoken order, in the largest size that fits."""

from __future__ import annotations

import re
from functools import cache

from PIL import ImageDraw, ImageFont

_ARTICLE = re.compile(r"^(.*), (The|A|An|La|Le|Les|L'|Il|El|Los|Las|Der|Die|Das|Un|Una|Une|O)$")
_SIZES = (28, 26, 23, 20, 18, 16, 14, 12)


def spoken(title: str) -> str:
    """The title without what is in brackets, its article in front: `Usual Suspects, The` is The Usual Suspects."""
    bare = re.sub(r"\s*\([^)]*\)", "", title).strip() or title.strip()
    match = _ARTICLE.match(bare)
    if match is None:
        return bare
    return f"{match[2]}{'' if match[2].endswith(chr(39)) else ' '}{match[1]}"


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own scalable font, so that no font file is needed."""
    return ImageFont.load_default(size)


def wrapped(text: str, width: int, height: int, max_lines: int = 3) -> tuple[list[str], int]:
    """The text in lines that fit a box, and their font size in pixels; cut with dots if nothing fits."""
    for size in _SIZES:
        lines = _lines(text, width, size)
        fits = all(font(size).getlength(line) <= width for line in lines)
        if fits and len(lines) <= max_lines and len(lines) * size * 1.12 <= height:
            return lines, size
    rows = min(max_lines, int(height / (_SIZES[-1] * 1.12)))
    kept = _lines(text, width, _SIZES[-1])[:rows]
    kept[-1] = _cut(kept[-1] + "…", width, _SIZES[-1])
    return [_cut(line, width, _SIZES[-1]) for line in kept], _SIZES[-1]


def draw_text(
    draw: ImageDraw.ImageDraw, text: str, box: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> None:
    """Draws the text centred in the box (left, top, right, bottom)."""
    left, top, right, bottom = box
    lines, size = wrapped(text, right - left, bottom - top)
    y = (top + bottom) / 2 - len(lines) * size * 1.12 / 2 + size * 0.56
    for line in lines:
        # Twice, a little apart: bold, where a stroke of a fraction of a pixel needs a newer Pillow.
        for x in ((left + right - size / 36) / 2, (left + right + size / 36) / 2):
            draw.text((x, y), line, fill=colour, font=font(size), anchor="mm")
        y += size * 1.12


def _lines(text: str, width: int, size: int) -> list[str]:
    lines: list[str] = []
    for word in text.split() or [""]:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1:] = [longer]
    return lines


def _cut(line: str, width: int, size: int) -> str:
    while len(line) > 2 and font(size).getlength(line) > width:
        line = line[:-2] + "…"
    return line
