"""Files as numbered lines: whatever the block size, the compression and the damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from recbole_pixel.convert.line_blocks import BrokenLines, first_lines, read_blocks

LINES = [b"one", b"", b"three " + b"x" * 700_000, b"four\r", b"five \xff", b"six"]
TEXT = b"\n".join(LINES)
EXPECTED = [(number, line.strip()) for number, line in enumerate(LINES, 1) if line]


def lines_of(path: Path, block_bytes: int, broken: BrokenLines | None = None) -> list[tuple[int, bytes]]:
    blocks = read_blocks(path, broken or BrokenLines(path), block_bytes=block_bytes)
    return [line for block in blocks for line in block.lines()]


def as_members(text: bytes) -> bytes:
    return gzip.compress(text[:300]) + b"\0" * 50 + gzip.compress(text[300:]) + b"\0" * 7


@pytest.mark.parametrize("block_bytes", [1, 1000, 1 << 24])
@pytest.mark.parametrize("packed", [bytes, gzip.compress, as_members], ids=["plain", "gzip", "members"])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n"])
def test_every_line_comes_once_with_its_number(tmp_path: Path, block_bytes: int, packed, ending: bytes) -> None:
    (tmp_path / "f").write_bytes(packed(TEXT + ending))
    assert lines_of(tmp_path / "f", block_bytes) == EXPECTED
    (tmp_path / "f").write_bytes(packed(b"\xef\xbb\xbf" + TEXT))
    assert lines_of(tmp_path / "f", block_bytes) == EXPECTED


@pytest.mark.parametrize("block_bytes", [1, 1 << 24])
def test_what_lies_before_the_damage_counts(tmp_path: Path, block_bytes: int) -> None:
    text = b"".join(b"%07d some words that do not compress away entirely\n" % number for number in range(1, 50_001))
    packed = gzip.compress(text)
    path = tmp_path / "f.gz"
    path.write_bytes(packed[: len(packed) // 2])

    broken = BrokenLines(path, skip=True)
    whole = lines_of(path, block_bytes, broken)
    assert 10_000 < len(whole) < 40_000
    assert [int(line.split()[0]) for _, line in whole] == [number for number, _ in whole]
    assert broken.n == 1
    assert broken.notice()[0].startswith(
        f"f.gz: 1 broken lines skipped, the first line {len(whole) + 1}: the compressed"
    )

    with pytest.raises(ValueError, match=rf"f\.gz, line {len(whole) + 1}: .*they end in the middle.*download"):
        lines_of(path, block_bytes)
    path.write_bytes(packed[:-8] + b"12345678")
    with pytest.raises(ValueError, match=r"line [345]\d{4}: .*incorrect data check"):
        lines_of(path, block_bytes)


def test_the_first_lines_and_files_without_any(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(b"\n\na\nb\nc\n"))
    assert first_lines(path, 2) == [(3, b"a"), (4, b"b")]
    assert first_lines(path, 9) == [(3, b"a"), (4, b"b"), (5, b"c")]
    path.write_bytes(b" \n\n")
    with pytest.raises(ValueError, match="holds no text; expected one record on each line"):
        first_lines(path, 2)
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere"):
        first_lines(tmp_path / "nowhere", 2)
