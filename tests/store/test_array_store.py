"""Arrays come back as written, by map or by pread, and an interrupted build goes on."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from store_world import python

from recbole_pixel.store import ArrayStore, ArrayStoreWriter, StoreError, open_or_none

TOKENS = [f"i{i}" for i in range(50)]
VALUES = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 5), dtype=np.uint8)
MADE_OF = {"images": "abc", "size": (4, 5), "kind": "pixels"}


def write(
    path: Path, values: np.ndarray = VALUES, tokens: list[str] = TOKENS, provenance: dict = MADE_OF
) -> ArrayStore:
    with ArrayStoreWriter(path, tokens, values.shape[1:], values.dtype, provenance) as writer:
        for start in range(writer.written, len(values), 7):
            writer.write(start, values[start : start + 7])
    return ArrayStore(path)


@pytest.fixture(params=[True, False], ids=["map", "pread"])
def store(request, tmp_path: Path) -> ArrayStore:
    write(tmp_path / "pixels")
    return ArrayStore(tmp_path / "pixels", mapped=request.param)


def test_describes_itself(store: ArrayStore):
    assert (store.shape, store.dtype, len(store), store.tokens) == ((3, 4, 5), np.dtype("uint8"), 50, TOKENS)
    assert store.provenance == {"images": "abc", "size": [4, 5], "kind": "pixels"}
    assert "i7" in store
    assert "x" not in store


def test_gathers_any_positions_in_their_order(store: ArrayStore):
    for positions in ([3], [4, 5, 6], [9, 2, 2, 49, 0, 1, 48, 49], list(range(50)), list(range(49, -1, -1)), []):
        found = store.gather(np.array(positions, dtype=np.int64))
        assert found.dtype == np.uint8
        assert np.array_equal(found, VALUES[positions])
    assert np.array_equal(store.gather(store.positions(["i9", "i3"])), VALUES[[9, 3]])


def test_gathers_into_the_front_of_a_reused_buffer(store: ArrayStore):
    buffer = np.full((8, 3, 4, 5), 7, np.uint8)
    found = store.gather(np.array([5, 1, 2]), out=buffer)
    assert np.shares_memory(found, buffer)
    assert np.array_equal(buffer[:3], VALUES[[5, 1, 2]])
    assert (buffer[3:] == 7).all()


def test_result_is_never_a_view_of_the_file(store: ArrayStore):
    found = store.gather(np.arange(50))
    found[:] = 0
    assert np.array_equal(store.gather(np.arange(50)), VALUES)


@pytest.mark.parametrize("positions", [[-1], [50], [0, 1, 77]])
def test_positions_out_of_range(store: ArrayStore, positions):
    with pytest.raises(IndexError, match="0 to 49"):
        store.gather(np.array(positions))


def test_buffers_that_do_not_fit(store: ArrayStore):
    bad = [
        np.empty((2, 3, 4, 5), np.uint8),
        np.empty((9, 4, 5), np.uint8),
        np.empty((9, 3, 4, 5), np.float32),
        np.empty((9, 3, 4, 10), np.uint8)[..., ::2],
    ]
    for out in bad:
        with pytest.raises(ValueError, match="expected uint8 of shape"):
            store.gather(np.array([0, 1, 2]), out=out)


def test_unknown_token_is_named(store: ArrayStore):
    assert store.positions([]).dtype == np.int64
    with pytest.raises(LookupError, match="item 'nobody' is not in"):
        store.positions(["i1", "nobody", "none"])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool", ">u2"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
@pytest.mark.parametrize("mapped", [True, False])
def test_types_and_shapes(tmp_path: Path, dtype: str, shape: tuple[int, ...], mapped: bool):
    values = (np.random.default_rng(0).random((50, *shape)) * 9).astype(dtype)
    write(tmp_path / "s", values)
    store = ArrayStore(tmp_path / "s", mapped=mapped)
    assert store.dtype == np.dtype(dtype)
    assert np.array_equal(store.gather(np.arange(50)[::-1]), values[::-1])


def _sum(store: ArrayStore) -> int:
    return int(store.gather(np.arange(50)[::-1]).sum())


def test_a_preloaded_store_gives_the_same_arrays(tmp_path: Path):
    store = write(tmp_path / "pixels")
    store.preload()
    assert np.array_equal(store.gather(np.arange(49, -1, -1)), VALUES[::-1])
    assert np.array_equal(pickle.loads(pickle.dumps(store)).gather(np.arange(50)), VALUES)
    with pytest.raises(ValueError, match="open it with mapped=True"):
        ArrayStore(tmp_path / "pixels", mapped=False).preload()


def test_preloading_reads_every_page(tmp_path: Path):
    """What is resident of the map, as the kernel counts it."""
    values = np.zeros((200, 4096 * 16), np.uint8)
    store = write(tmp_path / "large", values, [str(i) for i in range(200)])

    def resident() -> int:
        lines = Path("/proc/self/smaps").read_text().split(str(store.path / "data.bin"))[1:]
        return sum(int(lines.split("Rss:")[1].split()[0]) for lines in lines)

    assert resident() == 0
    store.preload()
    assert resident() == values.nbytes // 1024


@pytest.mark.parametrize("n_records", [0, 1, 31, 32, 100, 5000])
def test_many_threads_read_what_one_reads(tmp_path: Path, n_records: int):
    write(tmp_path / "pixels")
    positions = np.random.default_rng(n_records).integers(0, 50, n_records)
    found = ArrayStore(tmp_path / "pixels", mapped=False).gather(positions)
    assert np.array_equal(found, VALUES[positions])


def test_an_error_of_any_reading_thread_is_raised(tmp_path: Path):
    store = ArrayStore(write(tmp_path / "pixels").path, mapped=False)
    store.gather(np.arange(50))
    os.truncate(store.path / "data.bin", 45 * 60)
    assert np.array_equal(store.gather(np.tile(np.arange(45), 9)), np.tile(VALUES[:45], (9, 1, 1, 1)))
    with pytest.raises(OSError, match="record 45 lies behind"):
        store.gather(np.tile(np.arange(50), 9))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_other_processes(store: ArrayStore, method: str):
    assert _sum(store) == VALUES.sum()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_sum, [store] * 4) == [VALUES.sum()] * 4


def test_copies(store: ArrayStore):
    _sum(store)
    for other in (copy.deepcopy(store), pickle.loads(pickle.dumps(store))):
        assert _sum(other) == VALUES.sum()
        assert other.is_mapped == store.is_mapped


def test_pickle_of_a_store_that_was_built_anew(tmp_path: Path):
    data = pickle.dumps(write(tmp_path / "s"))
    write(tmp_path / "s", VALUES[::-1])
    with pytest.raises(StoreError, match="built anew"):
        pickle.loads(data)


def test_threads(store: ArrayStore):
    def _right(seed: int) -> bool:
        positions = np.random.default_rng(seed).integers(0, 50, 20)
        return bool(np.array_equal(store.gather(positions, out=np.empty((32, 3, 4, 5), np.uint8)), VALUES[positions]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(_right, range(200)))


def write_some(path: Path, n: int, **change: object) -> int:
    """Writes the first `n` records and leaves; returns how many were there before."""
    arguments = {"tokens": TOKENS, "shape": (3, 4, 5), "dtype": "u1", "provenance": MADE_OF, **change}
    with ArrayStoreWriter(path, **arguments) as writer:
        before = writer.written
        if n:
            writer.write(0, VALUES[:n])
    return before


def _stop_after(path: Path, n: int) -> None:
    with ArrayStoreWriter(path, TOKENS, (3, 4, 5), "u1", MADE_OF) as writer:
        writer.write(0, VALUES[:n])
        raise RuntimeError("stop")


def test_exception_then_resume(tmp_path: Path):
    with pytest.raises(RuntimeError, match="stop"):
        _stop_after(tmp_path / "s", 20)
    assert not (tmp_path / "s").exists()
    with ArrayStoreWriter(tmp_path / "s", TOKENS, (3, 4, 5), "u1", MADE_OF) as writer:
        assert writer.written == 20
        writer.write(20, VALUES[20:])
    assert np.array_equal(ArrayStore(tmp_path / "s").gather(np.arange(50)), VALUES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


KILLED = """
import os, signal, sys
import numpy as np
from recbole_pixel.store import ArrayStoreWriter, array_writer
array_writer.SYNC_SECONDS = 0
with ArrayStoreWriter(sys.argv[1], [f"i{i}" for i in range(50)], (4,), "i8", {}) as writer:
    writer.write(0, np.arange(120).reshape(30, 4))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_then_resume(tmp_path: Path):
    process = python(KILLED, tmp_path / "s")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with ArrayStoreWriter(tmp_path / "s", TOKENS, (4,), "i8", {}) as writer:
        assert writer.written == 30
        writer.write(30, np.arange(120, 200).reshape(20, 4))
    assert np.array_equal(ArrayStore(tmp_path / "s").gather(np.arange(50)).ravel(), np.arange(200))


@pytest.mark.parametrize(
    "change",
    [{"tokens": TOKENS[::-1]}, {"shape": (5, 4, 3)}, {"dtype": "i1"}, {"provenance": {**MADE_OF, "size": (5, 4)}}],
)
def test_another_build_starts_afresh(tmp_path: Path, change):
    with pytest.raises(StoreError, match="20 of 50 records"):
        write_some(tmp_path / "s", 20)
    with pytest.raises(StoreError, match=r"^0 of 50 records"):
        write_some(tmp_path / "s", 0, **change)


def test_incomplete_build_says_so_and_is_kept(tmp_path: Path):
    for n in (10, 0):
        with pytest.raises(StoreError, match=r"10 of 50 records.*run the same build again"):
            write_some(tmp_path / "s", n)


def test_records_behind_a_gap_do_not_count(tmp_path: Path):
    with ArrayStoreWriter(tmp_path / "s", TOKENS, (3, 4, 5), "u1", MADE_OF) as writer:
        writer.write(0, VALUES[:10])
        writer.write(20, VALUES[20:])
        assert writer.written == 10
        writer.write(10, VALUES[10:20])
        assert writer.written == 50
    assert np.array_equal(ArrayStore(tmp_path / "s").gather(np.arange(50)), VALUES)


def test_blocks_in_any_order_from_many_threads(tmp_path: Path):
    with ArrayStoreWriter(tmp_path / "s", TOKENS, (3, 4, 5), "u1", MADE_OF) as writer, ThreadPoolExecutor(4) as pool:
        order = np.random.default_rng(0).permutation(10).tolist()
        list(pool.map(lambda i: writer.write(i * 5, VALUES[i * 5 : i * 5 + 5]), order))
        assert writer.written == 50
    assert np.array_equal(ArrayStore(tmp_path / "s").gather(np.arange(50)), VALUES)


def test_wrong_blocks(tmp_path: Path):
    with ArrayStoreWriter(tmp_path / "s", TOKENS, (3, 4, 5), "u1", MADE_OF) as writer:
        for block in (VALUES[:2].astype("f4"), VALUES[:2, :2]):
            with pytest.raises(ValueError, match="expected uint8"):
                writer.write(0, block)
        for start in (-1, 49):
            with pytest.raises(IndexError, match="a store of 50"):
                writer.write(start, VALUES[:2])
        assert writer.written == 0
        writer.write(0, VALUES)


@pytest.mark.parametrize(
    ("tokens", "shape", "dtype", "message"),
    [
        ([], (1,), "u1", "no tokens"),
        (["a", "b", "a"], (1,), "u1", "'a' comes twice"),
        (["a"], (0,), "u1", "no side of 0"),
        (["a"], (1,), "O", "plain numbers"),
        (["a"], (1,), "U5", "plain numbers"),
    ],
)
def test_wrong_declarations(tmp_path: Path, tokens, shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        ArrayStoreWriter(tmp_path / "s", tokens, shape, dtype, {})


def test_provenance_must_be_plain(tmp_path: Path):
    with pytest.raises(TypeError, match="plain values"):
        ArrayStoreWriter(tmp_path / "s", ["a"], (1,), "u1", {"path": tmp_path})


def test_open_or_none(tmp_path: Path):
    assert open_or_none(tmp_path / "s", MADE_OF) is None
    write(tmp_path / "s")
    found = open_or_none(tmp_path / "s", MADE_OF)
    assert found is not None
    assert _sum(found) == VALUES.sum()
    assert open_or_none(tmp_path / "s", {**MADE_OF, "images": "changed"}) is None
    os.truncate(tmp_path / "s" / "data.bin", 1000)
    with pytest.raises(StoreError, match="1,000 bytes, its manifest promises 3,000"):
        open_or_none(tmp_path / "s", MADE_OF)


def test_stale_store_is_replaced(tmp_path: Path):
    old = write(tmp_path / "s")
    new = write(tmp_path / "s", VALUES[::-1], provenance={"images": "other"})
    assert old.fingerprint != new.fingerprint
    assert np.array_equal(new.gather(np.array([0])), VALUES[[49]])
    assert open_or_none(tmp_path / "s", {"images": "other"}) is not None


def test_damaged_tokens_are_refused(tmp_path: Path):
    write(tmp_path / "s")
    (tmp_path / "s" / "tokens.json").write_text(json.dumps(TOKENS[::-1]))
    with pytest.raises(StoreError, match=r"tokens\.json is missing or damaged"):
        ArrayStore(tmp_path / "s")


def test_verify_names_flipped_records(tmp_path: Path):
    store = write(tmp_path / "s")
    assert store.verify() == []
    content = bytearray((tmp_path / "s" / "data.bin").read_bytes())
    content[60 * 7 + 3] ^= 1
    (tmp_path / "s" / "data.bin").write_bytes(content)
    assert ArrayStore(tmp_path / "s").verify() == ["i7"]


def test_one_writer_at_a_time(tmp_path: Path):
    arguments = (tmp_path / "s", TOKENS, (3, 4, 5), "u1", MADE_OF)
    with ArrayStoreWriter(*arguments) as first:
        with pytest.raises(BlockingIOError, match="another process"), ArrayStoreWriter(*arguments):
            pass
        first.write(0, VALUES)
    assert len(ArrayStore(tmp_path / "s")) == 50


def test_never_replaces_what_is_not_an_array_store(tmp_path: Path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.txt").write_text("text")
    with pytest.raises(FileExistsError, match="not replaced"), ArrayStoreWriter(tmp_path / "s", TOKENS, (1,), "u1", {}):
        pass
    assert (tmp_path / "s" / "thesis.txt").exists()


FULL = """
import resource, sys
import numpy as np
from recbole_pixel.store import ArrayStoreWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
with ArrayStoreWriter(sys.argv[1], [f"i{i}" for i in range(50)], (20_000,), "u1", {}) as writer:
    for i in range(50):
        writer.write(i, np.full((1, 20_000), i, np.uint8))
"""


def test_full_disk_then_resume(tmp_path: Path):
    process = python(FULL, tmp_path / "s")
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert "25 of 50 records are written; make room" in errors
    with ArrayStoreWriter(tmp_path / "s", TOKENS, (20_000,), "u1", {}) as writer:
        assert writer.written == 25
        writer.write(25, np.repeat(np.arange(25, 50, dtype=np.uint8)[:, None], 20_000, 1))
    assert np.array_equal(ArrayStore(tmp_path / "s").gather(np.arange(50))[:, 0], np.arange(50))
