"""What the script for accelerators says of itself, and of a machine that has none."""

from __future__ import annotations

import json

import gpu
import pytest
import torch


def test_without_a_device_it_says_so_and_fails(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    line = json.loads(capsys.readouterr().out)
    assert (line["ratio"], line["why"]) == (None, "there is no CUDA device; nothing was measured")


def test_its_help_names_what_it_leaves_out(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert not ended.value.code
    assert "Not among it, and nowhere measured on a device: evaluation, the loader alone" in capsys.readouterr().out
