"""Muon against torch's own, matrix by matrix."""

import pytest
import torch
from torch import nn

from jielong.training.muon import Muon, orthogonalise

SHAPES = [(24, 8), (8, 24), (8, 24), (16, 16), (24, 8)]


def weights(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_moves_the_weights_as_torchs_muon_does(weight_decay: float) -> None:
    ours, theirs = weights(0), weights(0)
    optimizers = [
        Muon(ours, lr=0.02, weight_decay=weight_decay),
        torch.optim.Muon(theirs, lr=0.02, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
    ]
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            gradient = torch.randn(mine.shape, generator=generator)
            mine.grad, other.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    start = weights(0)
    for mine, other, first in zip(ours, theirs, start, strict=True):
        moved = (other - first).norm()
        # Both round to bfloat16 on the way, in another order.
        assert (mine - other).norm() < 0.02 * moved


def test_a_matrix_moves_the_same_whatever_else_is_moved() -> None:
    together, alone = weights(0), weights(0)[:1]
    for weight in (*together, *alone):
        weight.grad = torch.ones_like(weight) + torch.eye(*weight.shape)
    Muon(together, lr=0.1).step()
    Muon(alone, lr=0.1).step()
    torch.testing.assert_close(together[0], alone[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 32, 8), (1, 8, 32), (2, 16, 16)])
def test_singular_values_end_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices).float())
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_a_matrix_without_gradient_stays() -> None:
    first, second = weights(0)[:2]
    before = second.detach().clone()
    first.grad = torch.ones_like(first)
    Muon([first, second], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(second, before)


def test_a_zero_gradient_makes_no_nan() -> None:
    weight = weights(0)[0]
    weight.grad = torch.zeros_like(weight)
    Muon([weight], lr=0.1).step()
    assert torch.isfinite(weight).all()
