"""Torch's engines for several processes, DDP and FSDP2, around a model and whatever is computed with it."""

import contextlib
import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jielong.models import Transformer
from jielong.models.adapters import attach_like
from jielong.training.distributed import is_main, world_size


class Network(nn.Module):
    """A model that functions are handed to: `network(function, *rest)` is `function(model, *rest)`.

    An engine prepares the weights when the module it wraps is called. So the whole computation, the head and
    the loss included, must happen inside that call.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Tensor], *rest: Any) -> Tensor:
        """Call the function on the model."""
        return function(self.model, *rest)


def build_network(model: Transformer, parallel: str, dtype: torch.dtype) -> nn.Module:
    """Hand a model to an engine: `ddp`, `fsdp`, or none when there is only one process.

    DDP (arXiv 2006.15704): every process holds the whole model, and gradients are averaged. FSDP2
    (arXiv 2304.11277): every process holds a share of each weight, its gradient and its optimizer state; a
    block's weights are gathered while it works. The weights become `DTensor`s, so call this before the
    optimizers are built.

    Args:
        model: on its device; all processes have the same weights.
        parallel: `ddp` or `fsdp`.
        dtype: of the computation; FSDP gathers the blocks' weights in it. Gradients are summed in float32.
    """
    network = Network(model)
    if world_size() == 1:
        return network
    if parallel == "ddp":
        with warnings.catch_warnings():  # torch 2.13 renames broadcast_buffers, 2.11 has only this name
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)
    return _fully_sharded(network, dtype)


def _fully_sharded(network: Network, dtype: torch.dtype) -> nn.Module:
    # Importing it takes a second, which runs of one process need not pay.
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in network.model.blocks:
        fully_shard(block, mp_policy=policy)
    # Embedding, last norm and head stay float32: the residual stream begins and ends there, as in one process
    # under autocast.
    # And gathered anew in each pass, so that none is stale after weights were changed between two passes.
    fully_shard(network, reshard_after_forward=True)
    return network


def gradient_sync(network: nn.Module, wanted: bool) -> AbstractContextManager[Any]:
    """While active, DDP's backward passes sum gradients over the processes only if it is wanted.

    Micro-batches before the last of an optimizer step need no sum: their gradients are added up locally. FSDP
    sums every time, since a process that is to hold a share of the gradients has no room for all of them.
    """
    if isinstance(network, DistributedDataParallel) and not wanted:
        return cast(AbstractContextManager[Any], network.no_sync())
    return contextlib.nullcontext()


def is_sharded(tensors: Iterable[Tensor]) -> bool:
    """Whether each process holds only a share of them, as DTensors."""
    return any(hasattr(tensor, "full_tensor") for tensor in tensors)


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be shared out; every process must call this."""
    gather = getattr(tensor, "full_tensor", None)  # DTensors have it
    return cast(Tensor, gather()) if gather else tensor


def own_share(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor that may be shared out."""
    local = getattr(tensor, "to_local", None)  # DTensors have it
    return cast(Tensor, local()) if local else tensor


def lay_out(tensor: Tensor, weight: Tensor) -> Tensor:
    """This process's share of a tensor that all have whole, cut as the weight is; nothing is sent."""
    if not is_sharded([weight]):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    like = cast(DTensor, weight)
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def whole_model(model: Transformer) -> Transformer | None:
    """A model that one process can use by itself; every process must call this.

    Returns:
        The model itself where it is whole already. Of one that is shared out, a copy on its device in the
        main process, and None in the others.
    """
    if not is_sharded(model.parameters()):
        return model
    weights = {}
    for name, weight in model.state_dict().items():
        gathered = whole(weight)
        if is_main():
            weights[name] = gathered
    if not is_main():
        return None
    with torch.device("meta"):
        copy = Transformer(model.config)
        attach_like(model, copy)
    copy.to_empty(device=next(iter(weights.values())).device)
    copy.load_state_dict(weights)
    return copy.train(model.training)
