"""What ranks tell one another, by hand-computed numbers; and who does what when a process is alone."""

from __future__ import annotations

import os

import numpy as np
import pytest
import rank_work
import torch
from worlds import random_rows, write_inter

from recbole_pixel.config import make_config
from recbole_pixel.distributed import gather_on_host, gather_shares, is_launched, own_gpu, rank, share, world_size


def test_shares_come_back_in_order_and_their_gradients_to_who_made_them(ranks):
    for n in (2, 5, 8):
        answers = ranks(rank_work.shares_with_gradient, n)
        for rows, _ in answers:
            assert rows == [[i, i] for i in range(n)]
        gradients = [row for _, gradient in answers for row in gradient]
        assert gradients == [[3.0, 3.0]] * n, "1 from the first rank and 2 from the second"


def test_what_is_too_little_to_share_is_everyones(ranks):
    assert ranks(rank_work.shares_with_gradient, 1) == [([[0.0, 0.0]], [[1.0, 1.0]]), ([[0.0, 0.0]], [[2.0, 2.0]])]


def test_sums_have_the_gradients_of_all_ranks(ranks):
    assert ranks(rank_work.sum_and_gradient) == [(5.0, 11.0), (5.0, 11.0)]


def test_ranks_may_have_any_number_of_rows_even_none(ranks):
    assert ranks(rank_work.uneven_rows) == [[0.0, 1.0, 2.0]] * 2


def test_the_first_rank_tells_the_others(ranks):
    assert ranks(rank_work.first_says) == [("rank 0 of 2", [5.0, 5.0])] * 2


def test_the_first_rank_is_done_before_the_others_begin(ranks, tmp_path):
    assert ranks(rank_work.in_turn, tmp_path) == [[], ["0"]]


def test_batch_norm_over_ranks_is_that_of_the_whole_batch(ranks):
    values = np.random.default_rng(0).normal(2, 3, (7, 3, 2, 2)).astype(np.float32)
    parts = [slice(0, 3), slice(3, 7)]
    answers = ranks(rank_work.batch_norm, values, parts)
    whole = rank_work.batch_norm(values, [slice(0, 7)])
    for name in ("y", "x"):
        joined = np.concatenate([answer[name] for answer in answers])
        np.testing.assert_allclose(joined, whole[name], rtol=2e-4, atol=2e-4)
    for answer in answers:
        for name in ("weight", "bias", "running_mean", "running_var", "n"):
            np.testing.assert_allclose(answer[name], whole[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_process_alone_is_all_ranks():
    rows = torch.arange(6.0).reshape(3, 2)
    assert (rank(), world_size(), share(3)) == (0, 1, slice(0, 3))
    assert gather_shares(rows, 3) is rows
    assert gather_on_host(rows).tolist() == rows.tolist()


def test_torchrun_with_one_process_is_a_process_alone():
    assert not is_launched({})
    assert not is_launched({"RANK": "0", "WORLD_SIZE": "1"})
    assert is_launched({"RANK": "0", "WORLD_SIZE": "2"})


def second(**more: str) -> dict[str, str]:
    return {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **more}


def test_each_rank_sees_an_accelerator_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert own_gpu(None, {}) is None, "one process: as RecBole says"
    assert own_gpu(None, second()) == "1"
    assert own_gpu(None, second(CUDA_VISIBLE_DEVICES="2,3")) == "3"
    assert own_gpu("3, 0", second(CUDA_VISIBLE_DEVICES="2,3")) == "0"
    assert own_gpu("", second()) is None, "the CPU was asked for"
    with pytest.raises(ValueError, match=r"process 1 of this machine has no accelerator: there are 1 \(2\)"):
        own_gpu("2", second())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert own_gpu("0", second()) is None, "none here: RecBole takes the CPU"


def test_the_settings_say_which_accelerators_are_dealt_out(monkeypatch, tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    for name, value in second().items():
        monkeypatch.setenv(name, value)
    cases: tuple[tuple[dict[str, object], str], ...] = (
        ({}, "5"), ({"gpu_id": "6,7"}, "7"), ({"gpu_id": [2, 3]}, "3"), ({"gpu_id": ""}, ""),
    )  # fmt: skip
    for given, expected in cases:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
        make_config("PixelSASRec", "w", settings={**settings, "item_tower": "id", **given})
        assert os.environ["CUDA_VISIBLE_DEVICES"] == expected
    with pytest.raises(ValueError, match="process 1 of this machine has no accelerator"):
        make_config("PixelSASRec", "w", settings={**settings, "item_tower": "id", "gpu_id": 3})
