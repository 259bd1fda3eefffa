"""An adapter on a network: put it on, take it off, switch it off for a while, merge it in.

The verbs are PEFT's. One copy of the base's weights serves both: `with disable_adapter(model)` the network is
the base again, bit for bit, which is what reinforcement learning and DPO need for their reference.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from jielong.core.errors import JielongError
from jielong.core.recipe import Settings
from jielong.models.adapters.lora import LoraLinear, lora_from_peft, lora_to_peft
from jielong.models.adapters.parts import chosen_parts, linear_layers, part_names, parts_of
from jielong.models.adapters.settings import LoraSettings
from jielong.models.linear import Linear, LinearAdapter
from jielong.models.transformer import Transformer


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """A kind of adapter: what it makes of a linear layer, and how PEFT's folder says so.

    Attributes:
        settings: its settings, which have `target_modules`.
        layer: (layer, its parts, names of the chosen parts, settings, generator) -> what the layer gets.
        to_peft: settings -> entries of adapter_config.json, without the modules.
        from_peft: (content of adapter_config.json, its path for errors) -> settings.
    """

    settings: type[Any]
    layer: Callable[..., LinearAdapter]
    to_peft: Callable[[Any], dict[str, Any]]
    from_peft: Callable[[Mapping[str, Any], str], Any]


KINDS: Mapping[str, AdapterKind] = {
    "LORA": AdapterKind(LoraSettings, LoraLinear, lora_to_peft, lora_from_peft)
}
"""By PEFT's `peft_type`. A further kind is a row here, a subclass of `LinearAdapter` and a settings class."""


def add_adapter(model: Transformer, settings: LoraSettings, seed: int = 0) -> Transformer:
    """Freeze a network and put a fresh adapter on it, with which it computes what it did before.

    Args:
        model: without an adapter; it is changed.
        settings: of the adapter.
        seed: of the adapter's first weights.

    Returns:
        The same network; only the adapter's parameters require gradients.

    Raises:
        UsageError: the network has none of the target modules.
    """
    chosen = chosen_parts(part_names(parts_of(model)), settings.target_modules)
    attach(model, settings, chosen, torch.Generator().manual_seed(seed))
    return model


def attach(
    model: Transformer, settings: Settings, chosen: Collection[str], generator: torch.Generator | None
) -> None:
    """Freeze a network and give the layers of some modules what the settings' kind of adapter makes of them.

    Args:
        model: without an adapter.
        settings: of the adapter.
        chosen: names of the modules, as in the family's files.
        generator: draws the first weights; None leaves them as allocated.
    """
    if adapted_layers(model):
        raise JielongError("this network has an adapter already; merge it or take it off first")
    kind = _kind_of(settings)
    model.requires_grad_(False)
    layers = linear_layers(model)
    for name, parts in parts_of(model).items():
        if any(part.name in chosen for part in parts):
            layers[name].adapter = kind.layer(layers[name], parts, chosen, settings, generator)
    model.adapter = settings
    for _, adapter in adapted_layers(model):
        adapter.train(model.training)


def attach_like(model: Transformer, copy: Transformer) -> None:
    """Give a copy of a network the same adapter, if there is one, with weights yet to be filled."""
    if model.adapter is not None:
        attach(copy, model.adapter, adapted_parts(model), None)


def adapted_layers(model: nn.Module) -> list[tuple[Linear, LinearAdapter]]:
    """The layers that an adapter changes, and what each has got."""
    return [
        (module, module.adapter)
        for module in model.modules()
        if isinstance(module, Linear) and module.adapter is not None
    ]


def adapted_parts(model: Transformer) -> set[str]:
    """The modules that an adapter changes, by their names in the family's files."""
    names = {name for _, adapter in adapted_layers(model) for name in adapter.tensors()}
    return {
        part for part in part_names(parts_of(model)) if any(name.startswith(f"{part}.") for name in names)
    }


@contextlib.contextmanager
def disable_adapter(model: nn.Module) -> Iterator[None]:
    """Have the base in place of the adapted network within the block.

    Raises:
        JielongError: the adapter is merged into the weights, so that the base is not there.
    """
    adapters = [adapter for _, adapter in adapted_layers(model)]
    if any(adapter.merged for adapter in adapters):
        raise JielongError("a merged adapter cannot be disabled; unmerge_adapter first")
    before = [adapter.disabled for adapter in adapters]
    try:
        for adapter in adapters:
            adapter.disabled = True
        yield
    finally:
        for adapter, disabled in zip(adapters, before, strict=True):
            adapter.disabled = disabled


@torch.no_grad()
def merge_adapter(model: nn.Module) -> None:
    """Put what the adapter does into the weights, where it costs nothing; `unmerge_adapter` takes it out."""
    for layer, adapter in adapted_layers(model):
        if not adapter.merged:
            layer.weight.copy_(adapter.merged_weight(layer.weight))
            adapter.merged = True


@torch.no_grad()
def unmerge_adapter(model: nn.Module) -> None:
    """Take a merged adapter out of the weights, which are then the base's up to rounding."""
    for layer, adapter in adapted_layers(model):
        if adapter.merged:
            layer.weight.copy_(adapter.unmerged_weight(layer.weight))
            adapter.merged = False


def merge_and_unload(model: Transformer) -> Transformer:
    """Merge the adapter for good: the network is a plain one again, and all of its weights can be trained."""
    merge_adapter(model)
    for layer, _ in adapted_layers(model):
        layer.adapter = None
    model.adapter = None
    model.requires_grad_(True)
    return model


def _kind_of(settings: Settings) -> AdapterKind:
    return next(kind for kind in KINDS.values() if isinstance(settings, kind.settings))
