"""LoRA: beside a frozen matrix W, the product B A of two narrow ones is learned (arXiv 2106.09685).

y = W x + s B (A x), with A [r, I], B [O, r] and s = alpha / r. B starts at zero, so that training starts from
the base exactly. Where one of our layers joins several matrices of the family's files (q, k and v; gate and
up), each of them has a pair of its own, as it has in PEFT.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.core.errors import JielongError
from jielong.models.adapters.parts import Part
from jielong.models.adapters.settings import LoraSettings
from jielong.models.linear import Linear, LinearAdapter


class LowRankPair(nn.Module):
    """The matrices A [r, I] and B [rows, r] of one part, under PEFT's names."""

    def __init__(self, rank: int, inputs: int, rows: int, like: Tensor) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(like.new_empty(rank, inputs))
        self.lora_B = nn.Parameter(like.new_zeros(rows, rank))

    def product(self) -> Tensor:
        """B A [rows, I], in float32 at least."""
        wide = torch.promote_types(self.lora_A.dtype, torch.float32)
        return self.lora_B.to(wide) @ self.lora_A.to(wide)


class LoraLinear(LinearAdapter):
    """The pairs of one linear layer.

    Args:
        layer: the layer; its type and device are the pairs' too.
        parts: all parts of the layer, in the order of their rows.
        chosen: names of the parts that get a pair.
        settings: rank, strength, dropout.
        generator: draws A; None leaves it as allocated, to be filled from a file.
    """

    def __init__(
        self,
        layer: Linear,
        parts: Sequence[Part],
        chosen: Collection[str],
        settings: LoraSettings,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.scaling, self.dropout = settings.scaling, settings.dropout
        self.pairs = nn.ModuleDict()
        for part in parts:
            if part.name in chosen:
                pair = LowRankPair(settings.rank, layer.in_features, part.rows, layer.weight)
                self.pairs[part.short] = pair
                if generator is not None and not pair.lora_A.is_meta:
                    # As nn.Linear and PEFT fill it: uniform, with a variance of 1 / (3 I).
                    bound = 1 / math.sqrt(layer.in_features)
                    fresh = torch.empty(pair.lora_A.shape).uniform_(-bound, bound, generator=generator)
                    pair.lora_A.data.copy_(fresh)

    def _pair(self, part: Part) -> LowRankPair | None:
        return cast(LowRankPair, self.pairs[part.short]) if part.short in self.pairs else None

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """W x + bias, and on the rows of every part with a pair, s B (A x)."""
        out = F.linear(x, weight, bias)
        changed = []
        for part in self.parts:
            rows = out.narrow(-1, part.start, part.rows)
            pair = self._pair(part)
            if pair is not None:
                # A dropout of its own for every pair, as in PEFT.
                seen = F.dropout(x, self.dropout, self.training) if self.dropout else x
                inner = F.linear(seen, pair.lora_A) * self.scaling
                rows = rows + F.linear(inner, pair.lora_B)
            changed.append(rows)
        return changed[0] if len(changed) == 1 else torch.cat(changed, -1)

    def merged_weight(self, weight: Tensor) -> Tensor:
        """W + s B A."""
        return self._moved(weight, self.scaling)

    def unmerged_weight(self, weight: Tensor) -> Tensor:
        """W - s B A."""
        return self._moved(weight, -self.scaling)

    def _moved(self, weight: Tensor, scaling: float) -> Tensor:
        moved = weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)
        for part in self.parts:
            pair = self._pair(part)
            if pair is not None:
                moved.narrow(0, part.start, part.rows).add_(pair.product(), alpha=scaling)
        return moved.to(weight.dtype)

    def tensors(self) -> Mapping[str, nn.Parameter]:
        """`MODULE.lora_A.weight` and `MODULE.lora_B.weight` of every pair."""
        found = {}
        for part in self.parts:
            pair = self._pair(part)
            if pair is not None:
                found[f"{part.name}.lora_A.weight"] = pair.lora_A
                found[f"{part.name}.lora_B.weight"] = pair.lora_B
        return found


# --- adapter_config.json

_READ = {"r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "bias", "init_lora_weights"}
_NO_MATTER = {
    "peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision",
    "inference_mode", "fan_in_fan_out", "exclude_modules", "layers_to_transform", "layers_pattern",
    "megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying",
}  # fmt: skip
"""Entries that do not change what is computed: the weights in the file say which modules have pairs."""
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of init_lora_weights that leave the base as it is; others (PiSSA, OLoRA, ...) change its weights."""


def lora_to_peft(settings: LoraSettings) -> dict[str, Any]:
    """The entries of adapter_config.json that are LoRA's own, but for the modules."""
    alpha = settings.alpha
    return {
        "r": settings.rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": settings.dropout,
        "use_rslora": settings.rslora,
        "bias": "none",
        "init_lora_weights": True,
        "use_dora": False,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
    }


def lora_from_peft(values: Mapping[str, Any], where: str) -> LoraSettings:
    """Read LoRA's entries of adapter_config.json.

    Raises:
        JielongError: on a value that changes what is computed in a way that is not supported here.
    """
    # An entry that nobody knows changes nothing as long as it says nothing.
    strange = {key: value for key, value in values.items() if key not in _READ | _NO_MATTER and value}
    if values.get("bias", "none") != "none":
        strange["bias"] = values["bias"]
    if values.get("init_lora_weights", True) not in _PLAIN_STARTS:
        strange["init_lora_weights"] = values["init_lora_weights"]
    if strange:
        shown = ", ".join(f"{key} = {value!r}" for key, value in strange.items())
        raise JielongError(
            f"{where}: {shown} is not supported; merge the adapter with PEFT and use the model"
        )
    targets = values.get("target_modules")
    read = {
        "rank": values.get("r", 8),
        "alpha": values.get("lora_alpha", 8),
        "dropout": values.get("lora_dropout", 0.0),
        "rslora": bool(values.get("use_rslora")),
        "target_modules": tuple(targets) if isinstance(targets, list) else "all-linear",
    }
    try:
        return LoraSettings.parse(read)
    except JielongError as error:
        raise JielongError(f"{where}: {error}") from None
