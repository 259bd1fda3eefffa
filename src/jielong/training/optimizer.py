"""Optimizers: which weight is moved by what."""

from typing import Any

import torch
from torch import nn

from jielong.training.muon import Muon
from jielong.training.settings import OptimizerSettings


def build_optimizers(model: nn.Module, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """AdamW for every weight that is trained, or Muon for the blocks' matrices and AdamW for the rest.

    Only matrices inside the blocks decay: decaying norms, biases and embeddings pulls them towards a
    meaningless zero.

    The pairs of LoRA are matrices of the blocks like others. Decay pulls what they add to a weight towards
    zero, which is the base. Muon moves B by an orthogonal matrix, and since A begins with nearly orthogonal
    rows, so does their product, as far as its rank goes; that A and B get an update of one size each is what
    AdamW does too. An orthogonal update of the product itself is not to be had from a pair.
    """
    matrices, others, new = split_parameters(model)
    fused = all(weight.device.type in {"cpu", "cuda"} for weight in (*matrices, *others, *new))
    groups: list[dict[str, Any]] = [{"params": others, "weight_decay": 0.0}]
    if new:
        groups.append({"params": new, "weight_decay": 0.0, "lr": settings.head_factor * settings.lr})
    if settings.name == "adamw":
        groups.insert(0, {"params": matrices, "weight_decay": settings.weight_decay})
    groups = [group for group in groups if group["params"]]
    adamw = [torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)] if groups else []
    if settings.name == "adamw":
        return [*adamw]
    return [Muon(matrices, lr=settings.muon_lr, weight_decay=settings.weight_decay), *adamw]


def split_parameters(
    model: nn.Module,
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """What is trained: the blocks' matrices; embeddings, head, norms, biases; critic or head that scores."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    new: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if "critic." in name or "score." in name:
            new.append(weight)
        else:
            (matrices if weight.ndim == 2 and "blocks." in name else others).append(weight)
    return matrices, others, new
