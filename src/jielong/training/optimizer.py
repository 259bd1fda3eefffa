"""Optimizers: which weight is moved by what."""

import torch
from torch import nn

from jielong.training.muon import Muon
from jielong.training.settings import OptimizerSettings


def build_optimizers(model: nn.Module, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """AdamW for every weight, or Muon for the blocks' matrices and AdamW for the rest.

    Only matrices inside the blocks decay: decaying norms, biases and embeddings pulls them towards a
    meaningless zero.
    """
    matrices, others = split_parameters(model)
    fused = all(weight.device.type in {"cpu", "cuda"} for weight in (*matrices, *others))
    if settings.name == "adamw":
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return [torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)]
    muon = Muon(matrices, lr=settings.muon_lr, weight_decay=settings.weight_decay)
    adamw = torch.optim.AdamW(others, lr=settings.lr, betas=settings.betas, weight_decay=0.0, fused=fused)
    return [muon, adamw]


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The blocks' matrices, and everything else (embeddings, head, norms, biases)."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and "blocks." in name else others).append(weight)
    return matrices, others
