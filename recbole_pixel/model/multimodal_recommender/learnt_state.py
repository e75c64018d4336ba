"""What a model on a large base saves: what it learnt, and which base it belongs to; the base itself never."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FORMAT = "recbole_pixel.adapter.1"
WEIGHTS, ABOUT = "adapter.safetensors", "adapter.json"


class LearntState(nn.Module):
    """Put before a RecBole class: its state is what learns, and a mark of the base.

    Attributes:
        base: what the base was asked for by.
        base_identity: a hash of it, uint8 (32,); part of the state, so that another base refuses it.
    """

    base: str
    base_identity: Tensor

    def identify_base(self, backbone: Any, name: str) -> None:
        """Notes which base this model learns on; call it when the model is built."""
        from recbole_pixel.encoder.vlm.base_mark import base_mark

        self.base = name
        self.register_buffer("base_identity", base_mark(backbone))

    def learnt_names(self) -> list[str]:
        """Names of the parameters that learn."""
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As torch's, of what learns and of the mark of the base alone."""
        state = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", "")
        kept = {f"{prefix}{name}" for name in (*self.learnt_names(), "base_identity")}
        for key in [key for key in state if key.startswith(prefix) and key not in kept]:
            del state[key]
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """As torch's, of what learns.

        Raises:
            ValueError: it was learnt on another base, or something else of the model learnt.
        """
        self._check_state(state_dict)
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def _check_state(self, state: Any) -> None:
        identity = state.get("base_identity")
        if identity is None or not torch.equal(identity.cpu(), self.base_identity.cpu()):
            found = "nothing" if identity is None else _short(identity)
            raise ValueError(
                f"these weights were learnt on another base: its mark is {found}, that of vlm {self.base} is "
                f"{_short(self.base_identity)}; take the vlm, and where it is random the seed, that they were learnt on"
            )
        own = {name: tuple(parameter.shape) for name, parameter in self.named_parameters() if parameter.requires_grad}
        given = {name: tuple(tensor.shape) for name, tensor in state.items() if name != "base_identity"}
        wrong = [name for name in {**own, **given} if own.get(name) != given.get(name)]
        if wrong:
            raise ValueError(
                f"these weights are not of what learns here: {len(given)} tensors for {len(own)}, e.g. {wrong[0]} of "
                f"shape {given.get(wrong[0])} for {own.get(wrong[0])}; are vlm_tune and head_size what they were?"
            )

    def save_adapter(self, folder: str | Path) -> Path:
        """Writes what was learnt, adapter and heads, into one folder, under a temporary name first."""
        from safetensors.torch import save_file

        folder = Path(folder)
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        partial.mkdir(parents=True)
        try:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
            save_file(tensors, partial / WEIGHTS)
            about = {"format": FORMAT, "base": self.base, "base_identity": _short(self.base_identity)}
            (partial / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder

    def load_adapter(self, folder: str | Path) -> None:
        """Takes what :meth:`save_adapter` wrote.

        Raises:
            FileNotFoundError: it did not write into ``folder``.
            ValueError: see :meth:`load_state_dict`.
        """
        from safetensors.torch import load_file

        path = Path(folder).expanduser() / WEIGHTS
        if not path.is_file():
            raise FileNotFoundError(
                f"adapter is {str(folder)!r}, and there is no {path}; a run of PixRec writes such a folder beside its "
                f"checkpoint, named like it with .adapter"
            )
        self.load_state_dict(load_file(path))


def _short(identity: Tensor) -> str:
    return bytes(identity.cpu().tolist()).hex()[:12]
