"""Several arrays of an item, carried as one record of bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_pixel.data.joint_inputs import JointInputs
from recbole_pixel.data.ring import Ring
from recbole_pixel.data.stored_inputs import DeviceInputs, StoredInputs
from recbole_pixel.store import ArrayStore, ArrayStoreWriter

N_ITEMS = 6


@pytest.fixture
def parts(tmp_path):
    """Pixels, bf16 activations and token ids of five items and the padding."""
    rng = np.random.default_rng(0)
    arrays = {
        "pixels": rng.integers(0, 256, (N_ITEMS, 4, 4, 3)).astype(np.uint8),
        "activations": torch.randn(N_ITEMS, 5).bfloat16().view(torch.uint16).numpy(),
        "tokens": rng.integers(-1, 30_000, (N_ITEMS, 7)).astype(np.int32),
    }
    tokens = [str(item) for item in range(N_ITEMS)]
    for name, values in arrays.items():
        with ArrayStoreWriter(tmp_path / name, tokens, values.shape[1:], values.dtype, {"of": name}) as writer:
            writer.write(0, values)
    records = np.array([0, 3, 1, 5, 2, 4])
    stores = {name: ArrayStore(tmp_path / name) for name in arrays}
    return [
        StoredInputs(stores["pixels"], records, from_trunk=False, channels_last=True),
        StoredInputs(stores["activations"], records, from_trunk=True, is_bf16=True),
        StoredInputs(stores["tokens"], records[::-1].copy(), from_trunk=False),
    ]


PRESENT = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0]], dtype=bool)


@pytest.mark.parametrize("tier", ["stored", "device"])
@pytest.mark.parametrize("ids", [[1, 2, 5], [4], []])
def test_every_part_comes_out_as_it_went_in(parts, tier, ids):
    ids = torch.tensor(ids, dtype=torch.long)
    inputs = parts if tier == "stored" else [DeviceInputs(part, torch.device("cpu")) for part in parts]
    joint = JointInputs(inputs, PRESENT)
    records = joint.fetch(ids)
    assert records.shape == (len(ids), 48 + 10 + 28 + 3)
    arrays, present = joint.layout.unpack(records)
    for part, array in zip(parts, arrays, strict=True):
        assert array.dtype == part.fetch(ids).dtype
        assert torch.equal(array.float(), part.fetch(ids).float())
    assert arrays[0].shape == (len(ids), 3, 4, 4)
    assert present.tolist() == PRESENT[ids.numpy()].tolist()


def test_records_go_into_the_ring_s_buffer(parts):
    joint = JointInputs(parts, PRESENT)
    ring = Ring(joint)
    first, second = ring.fetch(0, torch.tensor([1, 2])), ring.fetch(0, torch.tensor([3, 4]))
    assert first.data_ptr() == second.data_ptr()
    assert torch.equal(second, joint.fetch(torch.tensor([3, 4])))


def test_the_layout_says_which_parts_still_go_through_a_trunk(parts):
    assert [part.from_trunk for part in JointInputs(parts, PRESENT).layout.parts] == [False, True, False]
