"""One model that several ranks train: its gradients and its batch statistics are those of the whole batch."""

from __future__ import annotations

from inspect import signature
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from recbole_pixel.distributed import copy_state_from_first, sum_with_gradient


class Loss(nn.Module):
    """A model's loss as a forward pass, which is where :class:`DistributedDataParallel` looks.

    Args:
        model: a RecBole model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.unused = nn.Parameter(torch.zeros(()))  # torch warns of looking for unused parameters and finding none

    def forward(self, interaction: Any) -> Any:
        """What the model's ``calculate_loss`` returns."""
        return self.model.calculate_loss(interaction)  # type: ignore[operator]


def averaged_over_ranks(model: nn.Module) -> DistributedDataParallel:
    """A module whose call is ``model.calculate_loss``, and whose backward pass averages gradients over ranks.

    Parameters and buffers become those of the first rank. A step need not use all parameters.
    """
    copy_state_from_first(model)
    share_batch_statistics(model)
    loss = Loss(model).to(next(model.parameters()).device)
    has_new_name = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
    as_they_are: dict[str, Any] = {"forward_sync_buffers" if has_new_name else "broadcast_buffers": False}
    return DistributedDataParallel(loss, find_unused_parameters=True, **as_they_are)


def share_batch_statistics(model: nn.Module) -> None:
    """Makes batch norms that learn normalise by what all ranks see of a batch, as one process would."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            module.forward = MethodType(_normalise_over_ranks, module)  # type: ignore[method-assign]


def _normalise_over_ranks(module: _BatchNorm, x: Tensor) -> Tensor:
    """Batch norm of ``x`` (U, C, ...) by the mean and variance over all ranks; timm's act in the same module."""
    if not module.training:
        return type(module).forward(module, x)
    values = x.float()
    axes = [axis for axis in range(x.dim()) if axis != 1]
    count = values.new_full((1,), x.numel() / x.shape[1])
    sums = sum_with_gradient(torch.cat([values.sum(axes), count]))
    mean = sums[:-1] / sums[-1]
    centred = values - _per_channel(mean, x)
    variance = sum_with_gradient(centred.square().sum(axes)) / sums[-1]
    _keep(module, mean.detach(), variance.detach(), sums[-1].detach())
    normalised = centred * _per_channel((variance + module.eps).rsqrt(), x)
    if module.affine:
        normalised = normalised * _per_channel(module.weight, x) + _per_channel(module.bias, x)
    normalised = normalised.to(x.dtype)
    for name in ("drop", "act"):  # timm's BatchNormAct2d
        behind = getattr(module, name, None)
        normalised = normalised if behind is None else behind(normalised)
    return normalised


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (x.dim() - 2))


@torch.no_grad()
def _keep(module: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Moves the running statistics, by the unbiased variance, as ``F.batch_norm`` does."""
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    rate = module.momentum if module.momentum is not None else 1.0 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean, rate)
    module.running_var.lerp_(variance * count / (count - 1).clamp(min=1), rate)
