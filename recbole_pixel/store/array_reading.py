"""Records out of a flat file: gathered from a memory map, or read run by run."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np


def fits_in_memory(n_bytes: int) -> bool:
    """True if `n_bytes` are at most half of the memory of this machine, or of the container we are in."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no cgroup, or its limit is the word "max"
        limit = min(limit, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return 2 * n_bytes <= limit


def take_records(records: np.ndarray, positions: np.ndarray, out: np.ndarray) -> None:
    """`out[:] = records[positions]` without a temporary; the positions must be in range.

    Args:
        records: shape (N, ...).
        positions: int64, shape (n,).
        out: shape (n, ...), same dtype.
    """
    # mode="raise", the default, would gather into a temporary and copy; "clip" goes straight to `out`.
    np.take(records, positions, axis=0, out=out, mode="clip")


def read_records(handle: int, record_bytes: int, positions: np.ndarray, out: np.ndarray) -> None:
    """Reads the records at `positions` into `out`, one system call for each run of neighbours.

    Args:
        handle: file descriptor; its offset is neither used nor moved.
        record_bytes: bytes of one record.
        positions: int64, shape (n,).
        out: shape (n, ...), C-contiguous.

    Raises:
        OSError: the file is shorter than it was, or cannot be read.
    """
    if not len(positions):
        return
    bytes_out = out.reshape(-1).view(np.uint8).data
    starts = np.flatnonzero(np.diff(positions, prepend=positions[0] - 2) != 1)
    ends = np.append(starts[1:], len(positions))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        part = bytes_out[start * record_bytes : end * record_bytes]
        offset = int(positions[start]) * record_bytes
        while part:
            n_read = os.preadv(handle, [part], offset)
            if not n_read:
                raise OSError(
                    f"the file ends at byte {offset}, record {positions[start]} lies behind: it was cut short"
                )
            part, offset = part[n_read:], offset + n_read
