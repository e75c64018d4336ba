"""The machine and the process's surroundings: cores, memory, disks, limits, locale."""

from __future__ import annotations

import locale
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from recbole_pixel.doctor.findings import DEGRADED, OK, Finding

TOPIC = "Machine"
GIB = 2**30
GROUP = Path("/sys/fs/cgroup")
LITTLE_MEMORY = 2 * GIB  # torch and RecBole alone take one
LITTLE_DISK = 2 * GIB  # decoded covers of 13,000 items
LITTLE_SHARED = 64 * 2**20  # what a container gets by default
FEW_FILES = 1024  # usual, and enough; a store takes few


def look(folders: dict[str, Path]) -> Iterator[Finding]:
    """What there is of everything.

    Args:
        folders: that runs write into, by what they are for.
    """
    yield _cores()
    yield from _memory()
    for name, folder in folders.items():
        yield _folder(name, folder)
    yield from _shared_memory()
    yield from _files()
    yield _encoding()


def _cores() -> Finding:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _cpu_limit()
    value = f"{allowed} of {os.cpu_count()}" + (f", limited to {limit:g} by the container" if limit else "")
    threads = os.environ.get("OMP_NUM_THREADS")
    value += f", OMP_NUM_THREADS={threads}" if threads else ""
    if limit and limit < allowed and not threads:
        remedy = f"More threads than that wait for one another: export OMP_NUM_THREADS={max(1, int(limit))}"
        return Finding(TOPIC, "CPU cores", value, DEGRADED, remedy)
    return Finding(TOPIC, "CPU cores", value)


def _cpu_limit() -> float:
    with suppress(OSError, ValueError):
        quota, period = (GROUP / "cpu.max").read_text().split()
        return int(quota) / int(period)
    return 0.0


def _memory() -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        from recbole_pixel.store.free_memory import free_memory
    except ImportError:  # the store's own packages are not there, which is said elsewhere
        yield Finding(TOPIC, "memory", f"{total / GIB:.1f} GiB")
        return
    free = free_memory()
    value = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    with suppress(OSError, ValueError):
        limit = int((GROUP / "memory.max").read_text())
        value += f", {limit / GIB:.1f} GiB for this container"
    if free < LITTLE_MEMORY:
        remedy = "A run needs about 2 GiB: stop others, raise the container's limit, or set pixel_tier: file"
        yield Finding(TOPIC, "memory", value, DEGRADED, remedy)
    else:
        yield Finding(TOPIC, "memory", value)


def _folder(name: str, folder: Path) -> Finding:
    """A folder that is written into; one that is not there yet is made where its nearest parent is."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        free = shutil.disk_usage(there).free
        with tempfile.NamedTemporaryFile(dir=there, prefix=".recbole-pixel-doctor-"):
            pass
    except OSError as error:
        remedy = f"Make it writable, or name another by --{name}"
        return Finding(TOPIC, name, f"{folder}: cannot be written to ({error.strerror})", DEGRADED, remedy)
    value = f"{folder}: {free / GIB:.1f} GiB free"
    if free < LITTLE_DISK:
        remedy = f"Decoded pictures of 224 pixels take 0.15 MB each: free some, or name another by --{name}"
        return Finding(TOPIC, name, value, DEGRADED, remedy)
    return Finding(TOPIC, name, value)


def _shared_memory() -> Iterator[Finding]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return
    size = shutil.disk_usage(folder).total
    value = f"{size / 2**20:.0f} MiB"
    if size <= LITTLE_SHARED:
        remedy = "Enough for one process; several ranks may want more: docker run --shm-size=1g"
        yield Finding(TOPIC, "/dev/shm", value, OK, remedy)
    else:
        yield Finding(TOPIC, "/dev/shm", value)


def _files() -> Iterator[Finding]:
    with suppress(ImportError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < FEW_FILES:
            remedy = f"Raise it: ulimit -n {FEW_FILES if hard < 0 else min(hard, 65536)}"
            yield Finding(TOPIC, "open files", f"{soft} at most", DEGRADED, remedy)
        else:
            yield Finding(TOPIC, "open files", f"{soft} at most")


def _encoding() -> Finding:
    name = "UTF-8" if sys.flags.utf8_mode else locale.getpreferredencoding(False)
    output = (sys.stdout.encoding or "").lower().replace("-", "")
    if name.lower().replace("-", "") == "utf8" and output in ("", "utf8"):
        return Finding(TOPIC, "text", "UTF-8")
    remedy = "Titles may not print: export PYTHONUTF8=1, or LC_ALL=C.UTF-8"
    return Finding(TOPIC, "text", f"{name}, printed as {sys.stdout.encoding}", DEGRADED, remedy)
