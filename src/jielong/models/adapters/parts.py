"""Where adapters can go: our layers, and the modules of the family's own files that they consist of."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from jielong.core.errors import UsageError
from jielong.models.families import tensor_sources
from jielong.models.linear import Linear
from jielong.models.transformer import Transformer

_HEAD = "lm_head"


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one of our layers that are a module of their own in the family's files.

    Attributes:
        name: of the module there, such as `model.layers.0.self_attn.q_proj`.
        start: its first row in our layer.
        rows: how many.
        transposed: the files store its matrix as [in, out] (GPT-2's Conv1D).
    """

    name: str
    start: int
    rows: int
    transposed: bool

    @property
    def short(self) -> str:
        """The last word of its name, unique within one layer."""
        return self.name.rpartition(".")[2]


def linear_layers(model: Transformer) -> dict[str, Linear]:
    """Our linear layers by name, the output head included where it has weights of its own."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Linear)}


def parts_of(model: Transformer) -> dict[str, tuple[Part, ...]]:
    """For each of our linear layers, by name, its parts in the order of their rows."""
    layers = linear_layers(model)
    sources = tensor_sources(model.config, [f"{name}.weight" for name in layers])
    parts = {}
    for name, layer in layers.items():
        tensor_map, theirs = sources[f"{name}.weight"]
        sizes = tensor_map.sizes(model.config) or (layer.out_features,)
        starts = [sum(sizes[:number]) for number in range(len(sizes))]
        parts[name] = tuple(
            Part(their.removesuffix(".weight"), start, rows, tensor_map.transposed)
            for their, start, rows in zip(theirs, starts, sizes, strict=True)
        )
    return parts


def part_names(parts: Mapping[str, Iterable[Part]]) -> list[str]:
    """The modules of all layers, in order."""
    return [part.name for layer in parts.values() for part in layer]


def chosen_parts(names: Collection[str], targets: str | Collection[str]) -> set[str]:
    """The modules that a choice means, as PEFT reads it: whole names, or their ends after a dot.

    Args:
        names: of all modules.
        targets: `all-linear`, or names and ends of names.

    Raises:
        UsageError: an entry means none of them, or there is no entry.
    """
    if targets == "all-linear":
        return {name for name in names if name != _HEAD}
    chosen: set[str] = set()
    for target in targets:
        found = {name for name in names if name == target or name.endswith(f".{target}")}
        if not found:
            known = sorted({name.rpartition(".")[2] for name in names})
            raise UsageError(f"target_modules: this network has no {target!r}; it has {', '.join(known)}")
        chosen |= found
    if not chosen:
        raise UsageError("target_modules is empty; name modules, or all-linear")
    return chosen
