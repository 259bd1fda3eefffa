"""Checkpoints of which every process writes and reads a share, through torch.distributed.checkpoint.

The shards are safetensors files whose headers say which part of a tensor they hold: nothing is pickled, and
any number of processes can read them.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor
from torch.distributed.tensor import empty as empty_dtensor

from jielong.core.errors import JielongError
from jielong.training.parallel import lay_out
from jielong.training.state import State

Layout = Callable[[str, str], Tensor | None]
"""(part, name) -> the weight whose layout over the processes a tensor shares, or None."""


def layout_of(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Layout:
    """Which weight a tensor of a checkpoint belongs to; an optimizer's are named `optimizer.weight.slot`."""
    by_name = dict(model.named_parameters())
    by_number: list[list[Tensor]] = [
        [weight for group in optimizer.param_groups for weight in group["params"]] for optimizer in optimizers
    ]

    def find(part: str, name: str) -> Tensor | None:
        if part != "optimizer":
            return by_name.get(name)
        owner, index, _ = name.split(".", 2)
        weights = by_number[int(owner)] if int(owner) < len(by_number) else []
        return weights[int(index)] if int(index) < len(weights) else None

    return find


def save_shards(folder: Path, state: State) -> None:
    """Write every process's share of the state; what all have alike is written once.

    Raises:
        JielongError: a process cannot write; in all of them.
    """
    flat = {f"{part}/{name}": tensor for part, tensors in state.items() for name, tensor in tensors.items()}
    try:
        save(flat, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as error:
        raise JielongError(f"cannot write {folder}: {_first_failure(error)}") from _cause(error)


def load_shards(folder: Path, layout: Layout) -> State:
    """Read this process's share of a state, laid out as the weights are now.

    Raises:
        JielongError: a process cannot read; in all of them.
    """
    reader = HuggingFaceStorageReader(str(folder))
    flat: dict[str, Tensor] = {}
    for key, stored in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(stored, TensorStorageMetadata)  # noqa: S101  (the writer knows no others)
        flat[key] = _empty(stored.size, stored.properties.dtype, layout(*key.split("/", 1)))
    try:
        with warnings.catch_warnings():  # torch remarks that there is only one process
            warnings.simplefilter("ignore", UserWarning)
            load(flat, storage_reader=reader, no_dist=not dist.is_initialized())
    except CheckpointException as error:
        raise JielongError(f"cannot read {folder}: {_first_failure(error)}") from _cause(error)
    state: State = {}
    for key, tensor in flat.items():
        part, name = key.split("/", 1)
        state.setdefault(part, {})[name] = tensor
    return state


def share_out(state: State, layout: Layout) -> State:
    """Lay whole tensors, which every process has, out as the weights are now."""

    def place(tensor: Tensor, weight: Tensor | None) -> Tensor:
        return (
            tensor if weight is None or not _is_cut_alike(tensor.shape, weight) else lay_out(tensor, weight)
        )

    return {
        part: {name: place(tensor, layout(part, name)) for name, tensor in tensors.items()}
        for part, tensors in state.items()
    }


def _empty(size: torch.Size, dtype: torch.dtype, weight: Tensor | None) -> Tensor:
    if isinstance(weight, DTensor) and _is_cut_alike(size, weight):
        return empty_dtensor(size, dtype=dtype, device_mesh=weight.device_mesh, placements=weight.placements)
    return torch.empty(size, dtype=dtype)


def _is_cut_alike(size: torch.Size, weight: Tensor) -> bool:
    """Whether a tensor of that size is cut as the weight is: weights are cut along their first dimension."""
    return len(size) > 0 and size[0] == weight.shape[0]


def _first_failure(error: CheckpointException) -> str:
    number, failure = next(iter(error.failures.items()))
    return f"process {number}: {' '.join(str(failure[0]).split())[:200]}"


def _cause(error: CheckpointException) -> BaseException:
    failure: BaseException = next(iter(error.failures.values()))[0]
    return failure
