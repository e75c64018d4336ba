"""Starting from another run's weights, on the same dataset or on one of other users and items.

What is carried over is what belongs to no single user or item: an encoder, the projection behind it, and, from a model
of the same class, the recommender. Rows of a table of ids stay behind.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbole_pixel.checkpoint import has_a_model
from recbole_pixel.encoder.standardising import Standardising
from recbole_pixel.entity_rows import rows_of_entities
from recbole_pixel.whole_files import DamagedFileError, read_plain

TRANSFERS = {"encoder": ("encoder/",), "item_tower": ("encoder/", "parts/", "fusion/"), "all": ("",)}
"""Values of ``transfer``: how the names of what is loaded begin, see :func:`shared_name`."""


def shared_name(name: str, table: str, kind: str) -> str:
    """What a tensor is called in every model that has it, whatever else the model's items are made of.

    A picture's encoder is ``encoder/image/...`` both where items are pictures and where they are pictures and texts;
    ``parts/image/...`` is what stands behind it; ``rows/...`` belongs to single items.

    Args:
        name: in the model's state.
        table: name of the model's item tower.
        kind: its ``item_tower``.
    """
    if not name.startswith(f"{table}."):
        return f"recommender/{name}"
    first, _, rest = name[len(table) + 1 :].partition(".")
    if first == "encoder":
        second, _, inner = rest.partition(".")
        if second in ("encoders", "parts"):
            part, _, leaf = inner.partition(".")
            return f"{'encoder' if second == 'encoders' else 'parts'}/{part}/{leaf}"
        return f"fusion/{inner}" if second == "fusion" else f"encoder/{kind}/{rest}"
    if first in ("projection", "standardising"):
        return f"parts/{kind}/{first}.{rest}"
    is_row = first == "own" or (kind == "id" and first == "weight")
    return f"rows/{name[len(table) + 1 :]}" if is_row else f"recommender/item_tower.{first}.{rest}"


class Pretrained(NamedTuple):
    """The weights of another run.

    Attributes:
        path: its checkpoint.
        model: name of its model.
        settings: of the run.
        weights: by :func:`shared_name`.
    """

    path: Path
    model: str
    settings: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: str | Path) -> Pretrained:
        """The weights in a checkpoint of ours; nothing is unpickled but tensors and plain values.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is torn, or not a checkpoint of ours.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"pretrained names no file: {path}")
        try:
            state = read_plain(path, "cpu", mmap=True)
        except (pickle.UnpicklingError, DamagedFileError) as error:
            raise ValueError(f"pretrained: {path} is torn, or no checkpoint of a model with an item tower") from error
        if not has_a_model(state):
            raise ValueError(f"pretrained: {path} is no checkpoint of a model with an item tower")
        settings = state["config"]
        table, kind = state.get("item_table", "item_embedding"), settings["item_tower"]
        weights = {shared_name(name, table, kind): tensor for name, tensor in state["state_dict"].items()}
        return cls(path, settings["model"], settings, weights)

    def has_encoder(self, part: str) -> bool:
        """Whether the run had an encoder of the ``part`` image or text."""
        return any(name.startswith(f"encoder/{part}/") for name in self.weights)

    def start_encoder(self, encoder: nn.Module, part: str) -> None:
        """Gives ``encoder`` the weights of the run's encoder of pictures or texts, if it has one.

        Args:
            encoder: just built; caches of what it makes of items are keyed by its weights, and come later.
            part: ``image`` or ``text``.

        Raises:
            ValueError: the run's is another one.
        """
        start = f"encoder/{part}/"
        own = {name[len(start) :]: tensor for name, tensor in self.weights.items() if name.startswith(start)}
        if not own:
            return
        try:
            encoder.load_state_dict(own)
        except RuntimeError as error:
            key, tune = ("encoder", "tune") if part == "image" else ("text_encoder", "text_tune")
            raise ValueError(
                f"pretrained: the {part} encoder in {self.path} is another one (there {key} is "
                f"{self.settings.get(key)!r} and {tune} {self.settings.get(tune)!r}); set the same here"
            ) from error


class Loaded(NamedTuple):
    """What a model took from a checkpoint.

    Attributes:
        path: of the checkpoint.
        loaded: names of the model's tensors that it gave.
        left: names of those that stay as they were, and why.
        unused: names of the checkpoint's that are not in the model, as they are shared.
    """

    path: str
    loaded: list[str]
    left: dict[str, str]
    unused: list[str]

    def __str__(self) -> str:
        lines = [f"pretrained: {len(self.loaded)} tensors of {self.path} loaded: {', '.join(_modules(self.loaded))}"]
        reasons: dict[str, list[str]] = {}
        for name, reason in self.left.items():
            reasons.setdefault(reason, []).append(name)
        lines += [f"  not loaded, {reason}: {', '.join(_modules(names))}" for reason, names in reasons.items()]
        if self.unused:
            lines.append(f"  in the checkpoint only: {', '.join(_modules(self.unused))}")
        return "\n".join(lines)


def _modules(names: list[str]) -> list[str]:
    """The modules that ``names`` lie in, down to the second level, in their order."""
    return list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))


@torch.no_grad()
def load_pretrained(model: nn.Module, table: str, kind: str, pretrained: Pretrained, transfer: str) -> Loaded:
    """Gives ``model`` the weights of another run, by name and shape.

    Args:
        model: with its tower in place; its optimiser is not built yet.
        table: name of the model's item tower.
        kind: its ``item_tower``.
        pretrained: the other run's.
        transfer: one of :data:`TRANSFERS`.

    Raises:
        ValueError: ``transfer`` is unknown, nothing fits, or a frozen encoder, of which results may be stored, would
            change.
    """
    if transfer not in TRANSFERS:
        raise ValueError(f"transfer is {transfer!r}; expected one of {', '.join(TRANSFERS)}")
    state = model.state_dict()
    own = {shared_name(name, table, kind): name for name in state}
    _check_bases(pretrained, {shared: state[name] for shared, name in own.items()})
    rows = rows_of_entities(model)
    left = {
        shared: reason
        for shared, name in own.items()
        if (reason := _why_not(shared, name, pretrained, transfer, state[name], type(model).__name__, rows))
    }
    _part_with_company(own, pretrained, left)
    loaded = {shared: name for shared, name in own.items() if shared not in left}
    _check_encoders(pretrained, own, loaded)
    learns = {name: value.requires_grad for name, value in model.named_parameters()}
    for shared, name in loaded.items():
        value = pretrained.weights[shared].to(state[name])
        if shared.startswith("encoder/") and not learns.get(name, True) and not torch.equal(value, state[name]):
            raise ValueError(
                f"pretrained: {name} is frozen here, but learnt in {pretrained.path}, and vectors made with it may be "
                f"stored: tune as much of the encoder as that run did"
            )
        state[name].copy_(value)
    reasons = {own[shared]: reason for shared, reason in left.items()}
    if not loaded:
        raise ValueError(_nothing(pretrained, transfer, reasons))
    _keep_scales(model, loaded.values())
    unused = [name for name in pretrained.weights if name not in own]
    return Loaded(str(pretrained.path), list(loaded.values()), reasons, unused)


MARKS = ("base_mark", "base_identity")
"""Buffers that tell on which base a part was learnt; they are compared, and never carried over."""


def _check_bases(pretrained: Pretrained, own: Mapping[str, Tensor]) -> None:
    """Refuses what was learnt beside another base of a vision-language model."""
    for shared, mark in own.items():
        given = pretrained.weights.get(shared)
        if shared.endswith(MARKS) and given is not None and not torch.equal(given.cpu(), mark.cpu()):
            raise ValueError(
                f"pretrained: what is in {pretrained.path} was learnt beside another base than vlm names here (there "
                f"{pretrained.settings.get('vlm')!r}); take the vlm, and where it is random the seed, that it was "
                f"learnt on"
            )


def _part_with_company(own: Mapping[str, str], pretrained: Pretrained, left: dict[str, str]) -> None:
    """Leaves a projection whose scale does not come, and a scale whose projection does not: they fit each other alone.

    Adds to ``left``.
    """
    parts = {shared.rpartition("/")[0] for shared in own if shared.startswith("parts/")}
    for part in parts:
        here, there = ({shared for shared in names if _fits_with(part, shared)} for names in (own, pretrained.weights))
        if here & left.keys() or not here >= there:
            for shared in here:
                left.setdefault(shared, "the projection or the scale of features that belongs to it does not fit")


def _fits_with(part: str, shared: str) -> bool:
    """Whether a tensor is of a part's scale or projection; a vector for what is missing stands alone."""
    return shared.startswith((f"{part}/projection.", f"{part}/standardising."))


def _check_encoders(pretrained: Pretrained, own: Mapping[str, str], loaded: Mapping[str, str]) -> None:
    """Refuses the projection of an encoder that learnt more than the encoder here can take."""
    for part in {shared.split("/")[1] for shared in loaded if shared.startswith("parts/")}:
        there = [name for name in pretrained.weights if name.startswith(f"encoder/{part}/")]
        without = [name for name in there if name not in own]
        if without:
            raise ValueError(
                f"pretrained: {len(without)} of {len(there)} tensors that the {part} encoder in {pretrained.path} "
                f"learnt have no place here, such as {without[0]}: tune as much of the encoder as that run did"
            )


def _why_not(
    shared: str, name: str, pretrained: Pretrained, transfer: str, value: Tensor, model: str, rows: Mapping[str, str]
) -> str | None:
    """The reason why a tensor of the model is not loaded; None if it is."""
    if shared.startswith("rows/"):
        return "it has a row for each item"
    if name in rows:
        return f"it has a row for each {rows[name]}"
    if shared.endswith(MARKS):
        return "it says on which base this model learns"
    if not shared.startswith(TRANSFERS[transfer]):
        return f"transfer is {transfer}"
    if shared.startswith("recommender/") and pretrained.model != model:
        return f"it is {model}'s, and the checkpoint {pretrained.model}'s"
    if shared not in pretrained.weights:
        return "the checkpoint has none"
    there = pretrained.weights[shared].shape
    return None if there == value.shape else f"its shape is {list(value.shape)} here and {list(there)} there"


def _nothing(pretrained: Pretrained, transfer: str, left: Mapping[str, str]) -> str:
    reasons = "; ".join(dict.fromkeys(f"{name}: {reason}" for name, reason in list(left.items())[:4]))
    tower = pretrained.settings.get("item_tower")
    return (
        f"pretrained: nothing of {pretrained.path} ({pretrained.model}, item_tower {tower}) fits with transfer "
        f"{transfer}: {reasons}"
    )


def _keep_scales(model: nn.Module, loaded: Iterable[str]) -> None:
    """Features are shifted and scaled as in the run that taught the projection behind them, not fitted anew."""
    names = {name.rpartition(".")[0] for name in loaded}
    for name, module in model.named_modules():
        if isinstance(module, Standardising) and name in names:
            module.is_given = True
