"""Which files are pictures, and which item each belongs to, by name alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".avif"}
    | {".heic", ".heif", ".jp2", ".ppm", ".pgm", ".ico"}
)


def _plain(name: str) -> str:
    """`name`, escaped where it cannot be printed."""
    return name if name.isprintable() else repr(name)


def tokens_of(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Item token -> file name, for the picture files among `names`; the token is the name without folder and suffix.

    A name without a suffix counts as a picture. Of several files for one token the first is taken.

    Args:
        names: paths with forward slashes, in the order that decides which is first.

    Returns:
        The files by token, in the order of `names`, and a line for each thing left out.
    """
    files: dict[str, str] = {}
    warnings: list[str] = []
    others: list[str] = []
    for name in names:
        path = PurePosixPath(name)
        is_hidden = path.name.startswith(".") or "__MACOSX" in path.parts
        if is_hidden or (path.suffix and path.suffix.lower() not in SUFFIXES):
            others.append(name)
        elif path.stem in files:
            warnings.append(
                f"two files for item {path.stem!r}: {_plain(files[path.stem])} is taken, {_plain(name)} is not"
            )
        else:
            files[path.stem] = name
    if others:
        warnings.append(
            f"{len(others)} files left out, not pictures by their names, e.g. {', '.join(map(_plain, others[:3]))}"
        )
    return files, warnings
