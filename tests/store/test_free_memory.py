"""What counts as free memory, of a machine and of a container in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_pixel.store import free_memory as memory


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A machine with 1000 kB available, and no container."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  2000 kB\nMemFree:  10 kB\nMemAvailable:  1000 kB\nHugePages_Total:  0\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    return tmp_path


def contained(folder: Path, limit: str, used: int) -> None:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text("anon 5\nactive_file 30000\ninactive_file 20000\nshmem 7\n")


def test_a_machine_gives_what_is_available(machine):
    assert memory.free_memory() == 1000 * 1024


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [
        ("500000", 300000, 250000),  # cached files of the container, 50,000 bytes, would be given up
        ("max", 300000, 1000 * 1024),
        ("9000000", 0, 1000 * 1024),
        ("100000", 300000, 0),
    ],
)
def test_a_container_gives_what_its_limit_leaves(machine, limit, used, free):
    contained(machine, limit, used)
    assert memory.free_memory() == free


def test_half_of_it_may_be_filled(machine):
    assert memory.fits_in_memory(500 * 1024)
    assert not memory.fits_in_memory(500 * 1024 + 1)
    contained(machine, "60000", 60000)
    assert memory.fits_in_memory(25000)
    assert not memory.fits_in_memory(25001)


def test_an_unknown_system_is_asked_for_all_its_memory(machine, monkeypatch):
    (machine / "meminfo").unlink()
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 10, "SC_PHYS_PAGES": 7}.get)
    assert memory.free_memory() == 70
