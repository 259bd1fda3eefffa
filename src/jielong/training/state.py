"""The tensors that a run consists of: weights, moments, random numbers."""

from pathlib import Path

import torch
from torch import Tensor, nn

from jielong.core.errors import JielongError

State = dict[str, dict[str, Tensor]]
"""Tensors by part (model, optimizer, average, random) and name."""


def state_of(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> State:
    """The tensors of a model and of its optimizers; of the model, only what is trained."""
    frozen = _frozen(model)
    weights = {name: weight for name, weight in model.state_dict().items() if name not in frozen}
    moments = {
        f"{number}.{index}.{key}": torch.as_tensor(value)
        for number, optimizer in enumerate(optimizers)
        for index, slots in optimizer.state_dict()["state"].items()
        for key, value in slots.items()
    }
    return {"model": weights, "optimizer": moments}


def restore_state(
    state: State, model: nn.Module, optimizers: list[torch.optim.Optimizer], path: Path
) -> None:
    """Put tensors back into a model and its optimizers, which were built with the same settings."""
    try:
        missing, unexpected = model.load_state_dict(state["model"], strict=False)
        if unexpected or set(missing) != _frozen(model):
            raise ValueError("it does not hold the weights that are trained")
        _restore_optimizers(optimizers, state["optimizer"])
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise JielongError(f"checkpoint {path} does not fit this run: {reason}") from error


def _frozen(model: nn.Module) -> set[str]:
    """Weights that stay what they were: an adapter's base, which is loaded from its own folder."""
    return {name for name, weight in model.named_parameters() if not weight.requires_grad}


def _restore_optimizers(optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for name, tensor in tensors.items():
        owner, index, key = name.split(".", 2)
        if int(owner) >= len(optimizers):
            raise ValueError("it was written with another optimizer.name")
        states[int(owner)].setdefault(int(index), {})[key] = tensor
    for optimizer, state in zip(optimizers, states, strict=True):
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        if state.keys() not in (set(), set(range(len(weights)))):
            raise ValueError("it was written with another optimizer.name")
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state() -> dict[str, Tensor]:
    """States of torch's random generators, one a device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda.{number}": state for number, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random_state(states: dict[str, Tensor]) -> None:
    """Put the random generators back; devices that this machine lacks are left out."""
    torch.set_rng_state(states["cpu"])
    for number in range(torch.cuda.device_count()):
        if f"cuda.{number}" in states:
            torch.cuda.set_rng_state(states[f"cuda.{number}"], number)
