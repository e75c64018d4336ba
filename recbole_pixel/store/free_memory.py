"""How much memory this machine, or the container we are in, can still give."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # version 2, as a container sees its own


def free_memory() -> int:
    """Bytes that may be taken without swapping; pages that only cache files count as free."""
    free = [_of_machine()]
    with suppress(OSError, ValueError):  # no control group, or its limit is the word "max"
        free.append(_of_group())
    return max(0, min(free))


def fits_in_memory(n_bytes: int) -> bool:
    """True if ``n_bytes`` are at most half of the free memory: what is left is for the run itself."""
    return 2 * n_bytes <= free_memory()


def _of_machine() -> int:
    with suppress(OSError, KeyError):
        return 1024 * _numbers(MEMINFO)["MemAvailable:"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_group() -> int:
    limit = int((GROUP / "memory.max").read_text())
    used = int((GROUP / "memory.current").read_text())
    parts = _numbers(GROUP / "memory.stat")
    return limit - used + parts.get("active_file", 0) + parts.get("inactive_file", 0)


def _numbers(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
