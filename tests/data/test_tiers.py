"""Where arrays are kept: the choice by size, and that it changes nothing but the speed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numbered_inputs import epoch_of
from worlds import colour_cover, write_inter, write_pictures

from recbole_pixel.data import tiers
from recbole_pixel.data.loader import CATALOGUE_ID, CATALOGUE_INPUT
from recbole_pixel.data.ring import Ring
from recbole_pixel.data.stored_inputs import DeviceInputs, StoredInputs
from recbole_pixel.data.tiers import TIERS, choose_tier, inputs_in_tier
from recbole_pixel.store import ArrayStore, ArrayStoreWriter

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
N_ITEMS = 12


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    """Settings of a world of twelve items, two of them without a picture."""
    write_inter(
        tmp_path, "w", [(f"u{user}", f"i{(user + step) % N_ITEMS}", step) for user in range(8) for step in range(6)]
    )
    rng = np.random.default_rng(0)
    covers = {f"i{item}": colour_cover(rng, item % 2 == 0) for item in range(N_ITEMS) if item not in (3, 8)}
    write_pictures(tmp_path, "w", covers)
    return {**settings, "missing_image": "mean", "train_batch_size": 3}


@pytest.mark.parametrize(
    "own",
    [
        {"tune": "full"},
        {"tune": "top:1", "trunk_cache_type": "float32"},
        {"tune": "top:1", "trunk_cache_type": "bf16"},
    ],
)
def test_all_tiers_give_the_same_batches_and_the_same_vectors(world, build, own):
    found = {}
    for tier in TIERS:
        _, model, (train, _, _) = build("w", {**world, **own, "pixel_tier": tier, "loss_type": "BPR"})
        inputs = train.inputs = model.item_embedding.inputs
        assert isinstance(inputs, DeviceInputs) == (tier == "device")
        assert inputs.store.is_mapped == (tier != "file")
        batches = epoch_of(train)
        for batch in batches:
            assert torch.equal(batch[CATALOGUE_INPUT], inputs.fetch(batch[CATALOGUE_ID][1:]))
        with torch.no_grad():
            found[tier] = batches, model.eval().item_embedding.weight.clone()
    batches, table = found["file"]
    assert len(batches) > 1
    for others, other_table in found.values():
        assert torch.equal(other_table, table)
        for batch, other in zip(batches, others, strict=True):
            assert batch.keys() == other.keys()
            assert all(torch.equal(batch[field], other[field]) for field in batch)


@pytest.fixture
def store(tmp_path) -> ArrayStore:
    """Twenty records of 48 bytes, each full of its own number."""
    values = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    with ArrayStoreWriter(tmp_path / "s", [f"i{i}" for i in range(20)], (4, 4, 3), np.uint8, {"of": "a test"}) as out:
        out.write(0, values)
    return ArrayStore(tmp_path / "s")


def test_the_device_holds_what_items_have_and_each_of_it_once(store):
    records = np.array([19, 5, 3, 5, 3, 7])  # the padding's is never read
    inputs = inputs_in_tier(store, records, "device", CPU, from_trunk=False, channels_last=True)
    assert isinstance(inputs, DeviceInputs)
    assert len(inputs.table) == 3
    assert inputs.table.is_contiguous()
    found = inputs.fetch(torch.tensor([5, 1, 4]))
    assert found.shape == (3, 3, 4, 4)
    assert found[:, 0, 0, 0].tolist() == [7, 5, 3]


def test_arrays_come_in_the_buffer_that_is_given_from_every_tier(store):
    for tier in TIERS:
        inputs = inputs_in_tier(store, np.arange(20), tier, CPU, from_trunk=True)
        buffer = np.zeros((10, 4, 4, 3), np.uint8)
        found = inputs.fetch(torch.tensor([4, 2]), out=buffer)
        assert found.data_ptr() == buffer.ctypes.data
        assert buffer[:, 0, 0, 0].tolist() == [4, 2, *[0] * 8]


@pytest.fixture
def machine(monkeypatch) -> SimpleNamespace:
    """Free bytes of an accelerator and of its host, to be set."""
    free = SimpleNamespace(device=0, host=0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free.device, 10**12))
    monkeypatch.setattr(tiers, "free_memory", lambda: free.host)
    monkeypatch.setattr(tiers, "fits_in_memory", lambda n_bytes: 2 * n_bytes <= free.host)
    return free


@pytest.mark.parametrize(
    ("device", "on_device", "on_host", "tier"),
    [
        (CUDA, 200, 0, "device"),
        (CUDA, 199, 200, "memory"),
        (CUDA, 199, 199, "file"),
        (CPU, 200, 200, "memory"),
        (CPU, 200, 199, "file"),
    ],
)
def test_the_fastest_tier_with_twice_the_room_is_taken(machine, device, on_device, on_host, tier):
    machine.device, machine.host = on_device, on_host
    assert choose_tier("auto", 100, device) == tier


def test_a_tier_that_is_asked_for_is_taken_unless_it_cannot_hold_the_arrays(machine):
    machine.device = machine.host = 150
    assert [choose_tier(tier, 100, CUDA) for tier in TIERS] == list(TIERS)
    for device in (CUDA, CPU):
        with pytest.raises(MemoryError, match=r"pixel_tier is device, but .* do not fit into .* free on"):
            choose_tier("device", 151, device)
    assert choose_tier("memory", 151, CPU) == "memory"
    with pytest.raises(ValueError, match="pixel_tier is 'disk'; expected auto, device, memory, file"):
        choose_tier("disk", 1, CPU)


def test_the_choice_counts_what_the_items_need_and_not_what_the_store_holds(store, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(tiers, "choose_tier", lambda tier, n_bytes, device: asked.append(n_bytes) or "file")
    inputs_in_tier(store, np.array([0, 1, 2, 2]), "auto", CPU, from_trunk=True)
    assert asked == [2 * 48]


def test_a_store_that_does_not_fit_is_not_read_whole_for_the_few_items_that_do(machine, store, monkeypatch):
    read: list[int] = []
    monkeypatch.setattr(ArrayStore, "preload", lambda store: read.append(len(store)))
    for machine.host in (2 * 2 * 48, 2 * 20 * 48):
        inputs = inputs_in_tier(store, np.array([0, 1, 2, 2]), "auto", CPU, from_trunk=True)
        assert inputs.store.is_mapped, "the two records fit"
        assert inputs.fetch(torch.tensor([3]))[0, 0, 0, 0] == 2
    assert read == [20], "only where all twenty fit"


class FakeCuda:
    """Streams and events that note, in ``log``, what is asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        fake = self

        class Stream:
            def __init__(self, device: torch.device) -> None:
                self.device = device

            def wait_stream(self, stream: Any) -> None:
                fake.log.append("after what was asked before")

            def synchronize(self) -> None:
                fake.log.append("copied")

            def __enter__(self) -> None:
                fake.log.append("copying")

            def __exit__(self, *error: object) -> None:
                pass

        class Event:
            n_made = 0

            def __init__(self) -> None:
                self.number, Event.n_made = Event.n_made, Event.n_made + 1

            def record(self, stream: Any) -> None:
                fake.log.append(f"trained on {self.number}")

            def synchronize(self) -> None:
                fake.log.append(f"wait for {self.number}")

        for name, value in {"Stream": Stream, "Event": Event, "stream": lambda stream: stream}.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(device))
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
        real = torch.Tensor.to

        def to(tensor: torch.Tensor, device: Any, **how: Any) -> torch.Tensor:
            if torch.device(device).type != "cuda":
                return real(tensor, device, **how)
            fake.log.append("non blocking" if how.get("non_blocking") else "blocking")
            return tensor.clone()

        monkeypatch.setattr(torch.Tensor, "to", to)


def test_a_slot_is_filled_again_only_when_the_device_is_done_with_it(monkeypatch, store):
    """The order of what is asked of CUDA, where there is none."""
    cuda = FakeCuda(monkeypatch)
    ring = Ring(StoredInputs(store, np.arange(20), from_trunk=True), CUDA, n_slots=1)
    running = SimpleNamespace(is_set=lambda: False)
    assert ring.acquire(running) == 0
    sent = ring.send({"ids": torch.tensor([0, 3, 1])})
    first = ring.fetch(0, sent["ids"][1:])
    assert first[:, 0, 0, 0].tolist() == [3, 1]
    ring.release(0)
    assert ring.acquire(running) == 0
    second = ring.fetch(0, torch.tensor([7, 9]))
    assert first[:, 0, 0, 0].tolist() == [3, 1], "what was copied is not overwritten with the buffer"
    assert second[:, 0, 0, 0].tolist() == [7, 9]
    copy = ["copying", "non blocking", "copied"]
    ids = ["copying", "blocking", "copied"]
    assert cuda.log == ["after what was asked before", "wait for 0", *ids, *copy, "trained on 0", "wait for 0", *copy]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("tier", TIERS)
def test_batches_reach_a_device_whole_however_far_it_lags_behind(tmp_path, tier):
    device = torch.device("cuda", 0)
    path = tmp_path / "large"
    values = np.arange(4000, dtype=np.int32)[:, None] * np.ones((1, 4096), np.int32)
    with ArrayStoreWriter(path, [f"i{i}" for i in range(4000)], (4096,), np.int32, {}) as out:
        out.write(0, values)
    inputs = inputs_in_tier(ArrayStore(path), np.arange(4000), tier, device, from_trunk=True)
    ring, wrong = Ring(inputs, device), torch.zeros((), device=device)
    slow = torch.rand(4096, 4096, device=device)
    for _ in range(30):
        slot = ring.acquire(SimpleNamespace(is_set=lambda: False))
        ids = torch.randint(1, 4000, (500,))
        sent, arrays = ring.send({"ids": ids})["ids"], ring.fetch(slot, ids)
        for _ in range(5):  # the device reads the batch long after the host has gone on
            slow = (slow @ slow).clamp(0, 1)
        wrong += (arrays != sent[:, None]).sum()
        del arrays, sent
        ring.release(slot)
    assert wrong.item() == 0
