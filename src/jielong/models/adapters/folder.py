"""Adapter folders in PEFT's layout: adapter_config.json and adapter_model.safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.core.files import file_written_atomically, read_json, to_json, write_atomically
from jielong.core.model_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from jielong.models.adapters.attached import KINDS, adapted_layers, adapted_parts, attach
from jielong.models.adapters.parts import Part, chosen_parts, part_names, parts_of
from jielong.models.families import tensor_sources
from jielong.models.transformer import Transformer

_PREFIX = "base_model.model."
"""PEFT's wrappers around the network, in the names of the tensors."""


def save_adapter(model: Transformer, folder: Path, base: str | Path) -> None:
    """Write the adapter of a network as PEFT does.

    Args:
        model: with an adapter.
        folder: new, or without an adapter in it.
        base: what the adapter belongs to, written as `base_model_name_or_path`: the folder of the base's
            model, or its name on the Hub.

    Raises:
        JielongError: the network has no adapter, or the folder holds one already.
    """
    if model.adapter is None:
        raise JielongError("this network has no adapter to save; save the model")
    if any((folder / name).exists() for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)):
        raise JielongError(
            f"{folder} holds an adapter already, and is not changed in place; name a new folder"
        )
    tensors = {
        _PREFIX + name: weight.detach().to("cpu", copy=True).contiguous()
        for _, adapter in adapted_layers(model)
        for name, weight in adapter.tensors().items()
    }
    try:
        with file_written_atomically(folder / ADAPTER_WEIGHTS) as aside:
            save_file(tensors, aside, metadata={"format": "pt"})
    except SafetensorError as error:
        raise JielongError(f"cannot write {folder / ADAPTER_WEIGHTS}: {error}") from error
    write_atomically(folder / ADAPTER_CONFIG, to_json(_config(model, str(base))))


def load_adapter(folder: Path, model: Transformer) -> Transformer:
    """Put the adapter of a folder, ours or PEFT's, on its base.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors.
        model: the base, without an adapter; it is changed.

    Returns:
        The same network; only the adapter's parameters require gradients.

    Raises:
        JielongError: one line that names file and tensor when anything is missing, damaged, pickled, left
            over, of another shape, or computed by PEFT in a way that is not supported here.
    """
    where = folder / ADAPTER_CONFIG
    values = read_json(where)
    kind = KINDS.get(values.get("peft_type", "")) if isinstance(values, dict) else None
    if kind is None:
        raise JielongError(f"{where}: only adapters of peft_type {', '.join(KINDS)} can be loaded")
    settings = kind.from_peft(values, str(where))
    stored = {name.removeprefix(_PREFIX): tensor for name, tensor in _read_tensors(folder).items()}
    parts = parts_of(model)
    chosen = {name for name in part_names(parts) if any(key.startswith(f"{name}.") for key in stored)}
    if not chosen:
        raise JielongError(
            f"{folder / ADAPTER_WEIGHTS} has no tensor for a {model.config.family} network of this shape"
        )
    if not _means(values.get("target_modules"), part_names(parts), chosen):
        # A pattern, or exceptions from a list: what was meant are the modules that the file holds.
        settings = settings.model_copy(update={"target_modules": tuple(sorted(chosen))})
    attach(model, settings, chosen, None)
    _fill(model, stored, folder / ADAPTER_WEIGHTS)
    return model


def _config(model: Transformer, base: str) -> dict[str, Any]:
    """The content of adapter_config.json."""
    name, kind = next(row for row in KINDS.items() if isinstance(model.adapter, row[1].settings))
    parts: list[Part] = [part for layer in parts_of(model).values() for part in layer]
    used = [part for part in parts if part.name in adapted_parts(model)]
    targets = getattr(model.adapter, "target_modules", "all-linear")
    # PEFT itself writes what all-linear came to; vLLM reads nothing else.
    shown = sorted({part.short for part in used}) if targets == "all-linear" else list(targets)
    return {
        "peft_type": name,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "target_modules": shown,
        "fan_in_fan_out": any(part.transposed for part in used),
        "inference_mode": True,
        **kind.to_peft(model.adapter),
    }


def _means(targets: object, names: list[str], chosen: set[str]) -> bool:
    """Whether PEFT's `target_modules` means these modules, in a form that our settings can hold."""
    if targets != "all-linear" and not isinstance(targets, list):
        return False
    try:
        return chosen_parts(names, targets) == chosen
    except JielongError:
        return False


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        pickled = folder / "adapter_model.bin"
        why = f"{pickled.name} is pickled and can run code when read" if pickled.exists() else "it is missing"
        raise JielongError(f"{folder} has no {ADAPTER_WEIGHTS} ({why}); save the adapter as safetensors")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise JielongError(f"{path} is damaged or truncated ({error}); copy it again") from None


@torch.no_grad()
def _fill(model: Transformer, stored: Mapping[str, Tensor], path: Path) -> None:
    wanted = {
        name: weight for _, adapter in adapted_layers(model) for name, weight in adapter.tensors().items()
    }
    for name in sorted({*wanted, *stored}):
        if name not in wanted and _is_the_bases(model, name, stored[name]):
            continue
        if name not in stored:
            raise JielongError(f"{path}: tensor {_PREFIX}{name} is missing")
        if name not in wanted:
            raise JielongError(
                f"{path}: tensor {_PREFIX}{name} is not a part of this adapter on this network"
            )
        if stored[name].shape != wanted[name].shape:
            raise JielongError(
                f"{path}: tensor {_PREFIX}{name} has shape {list(stored[name].shape)}, but this adapter on "
                f"this network has {list(wanted[name].shape)}; was it made for another base?"
            )
        wanted[name].copy_(stored[name])


def _is_the_bases(model: Transformer, name: str, stored: Tensor) -> bool:
    """Whether a tensor repeats one of the base's: PEFT adds embedding and head where the head has a pair."""
    tables = ["embed.weight", *(["lm_head.weight"] if model.lm_head is not None else [])]
    sources = tensor_sources(model.config, tables)
    for ours, (_, theirs) in sources.items():
        if name.replace(".base_layer.", ".") in theirs:
            weight = model.get_parameter(ours)
            return weight.shape == stored.shape and torch.equal(weight, stored.to(weight))
    return False
