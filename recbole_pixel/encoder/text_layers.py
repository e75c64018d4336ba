"""A transformers text encoder, cut between two of its layers.

Its own forward runs both sides of the cut: masks, rotary positions and relative position biases are whatever the family
makes of them. In front of the cut it is stopped; behind it, the layers before the cut pass on what they are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers")
"""What configurations call the number of layers."""


def find_layers(backbone: Any) -> nn.ModuleList | None:
    """The list of the layers that ``backbone`` runs one after the other; None where there is none to be found."""
    config = backbone.config
    depths = {getattr(config, name) for name in DEPTHS if isinstance(getattr(config, name, None), int)}
    for _, module in backbone.named_modules():  # outer ones before those within them
        if isinstance(module, nn.ModuleList) and len(module) in depths and len({type(layer) for layer in module}) == 1:
            return module
    return None


def last_states(backbone: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """The states of the last layer, behind the last norm: ids and mask of shape (U, T) to (U, T, H)."""
    return backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state


class CutLayers:
    """The two sides of a cut through ``backbone``.

    Args:
        backbone: transformers' model.
        layers: as :func:`find_layers` finds them.
        n_frozen: how many of them lie before the cut.
    """

    def __init__(self, backbone: nn.Module, layers: nn.ModuleList, n_frozen: int) -> None:
        self.backbone, self.layers, self.n_frozen = backbone, layers, n_frozen
        self._gives_tuples, self._tail = self._observe()

    @torch.no_grad()
    def _observe(self) -> tuple[bool, list[nn.Module]]:
        """Whether layers return tuples, and the modules with parameters that run behind the last layer."""
        order: list[nn.Module] = []
        outputs: list[Any] = []
        last = self.layers[-1]
        own = [module for module in self.backbone.modules() if next(module.parameters(recurse=False), None) is not None]
        own = [module for module in own if all(part is not last for part in module.modules())]
        hooks = [module.register_forward_hook(lambda module, *_: order.append(module)) for module in own]
        hooks.append(last.register_forward_hook(lambda module, _, output: outputs.append(output)))
        hooks.append(last.register_forward_hook(lambda module, *_: order.clear()))
        try:
            one = torch.ones(1, 1, dtype=torch.long, device=next(self.backbone.parameters()).device)
            last_states(self.backbone, one, one)
        finally:
            for hook in hooks:
                hook.remove()
        return isinstance(outputs[-1], tuple), order

    def learning_modules(self) -> list[nn.Module]:
        """What lies behind the cut: layers, and what follows them."""
        return [*self.layers[self.n_frozen :], *self._tail]

    def before(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The states at the cut: ids and mask of shape (U, T) to (U, T, H)."""
        with _replaced(self.layers[self.n_frozen], _stop):
            try:
                last_states(self.backbone, ids, mask)
            except _AtTheCut as reached:
                return reached.states
        raise RuntimeError(f"{type(self.backbone).__name__} did not run its layer {self.n_frozen}")

    def behind(self, states: Tensor, mask: Tensor) -> Tensor:
        """The states of the last layer, from those at the cut: (U, T, H) to (U, T, H).

        Where layers return more than states, the first one is run to know what: it makes T5's position biases.
        """
        passing = _Passing(self._gives_tuples)
        first, *others = self.layers[: self.n_frozen + 1]
        if not others:
            changes = [_replaced(first, _with_states(first.forward, states))]
        else:
            changes = [_replaced(first, passing.first(first.forward))]
            changes += [_replaced(layer, passing.on) for layer in others[:-1]]
            changes.append(_replaced(others[-1], _with_states(others[-1].forward, states)))
        with ExitStack() as stack:
            for change in changes:
                stack.enter_context(change)
            return last_states(self.backbone, torch.zeros_like(mask, dtype=torch.long), mask)


class _AtTheCut(Exception):
    """Carries the states at the cut out of the model, whose other layers need not run."""

    def __init__(self, states: Tensor) -> None:
        super().__init__("the cut")
        self.states = states


def _states_in(arguments: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    return arguments[0] if arguments else named["hidden_states"]


def _stop(*arguments: Any, **named: Any) -> Any:
    raise _AtTheCut(_states_in(arguments, named))


def _with_states(forward: Callable[..., Any], states: Tensor) -> Callable[..., Any]:
    """``forward`` of other states than it is told."""

    def run(*arguments: Any, **named: Any) -> Any:
        if arguments:
            return forward(states, *arguments[1:], **named)
        return forward(**{**named, "hidden_states": states})

    return run


class _Passing:
    """Layers that compute nothing: they return what they are told, and what the first one made besides."""

    def __init__(self, gives_tuples: bool) -> None:
        self.gives_tuples, self.besides = gives_tuples, ()

    def first(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            if self.gives_tuples:
                with torch.no_grad():
                    self.besides = forward(*arguments, **named)[1:]
            return self.on(*arguments, **named)

        return run

    def on(self, *arguments: Any, **named: Any) -> Any:
        states = _states_in(arguments, named)
        return (states, *self.besides) if self.gives_tuples else states


@contextmanager
def _replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
