"""Fit a scaling law to finished runs: variable projection, then the robust fit of Chinchilla."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.training.planning.scaling_law import ScalingLaw

_HUBER = 1e-3  # Chinchilla's delta, on the logarithm of the loss
_EXPONENTS = np.arange(0.05, 1.55, 0.05)
_STARTS = 3  # of the grid, from which the robust fit is begun
_TINY = 1e-12


@dataclass(frozen=True)
class Run:
    """One finished training run."""

    parameters: float
    tokens: float
    loss: float


@dataclass(frozen=True)
class LawFit:
    """A fitted law and how far it can be trusted."""

    law: ScalingLaw
    residual: float
    """Root mean square of log(predicted / measured)."""
    alpha_interval: tuple[float, float]
    """90 % of the laws fitted to runs drawn with replacement."""
    beta_interval: tuple[float, float]
    size_exponent: float
    """beta / (alpha + beta): the optimal size grows with this power of the compute."""
    size_exponent_interval: tuple[float, float]
    draws: int


def fit_law(
    runs: Sequence[Run], unit: str = "bits/byte", source: str = "fit", draws: int = 100, seed: int = 0
) -> LawFit:
    """Fit e, a, b, alpha and beta (arXiv 2203.15556, section 3.3), with a bootstrap of the exponents.

    The Huber loss of log(predicted) - log(measured) is minimised by L-BFGS. Its starts come from a grid of
    exponents, at each of which e, a and b follow from least squares (variable projection, arXiv 2603.22339):
    five starting values of Chinchilla's grid become two, and no start is far off.

    Args:
        runs: at least six, of differing sizes and tokens.
        unit: of the losses.
        source: noted in the law.
        draws: bootstrap samples.
        seed: of the bootstrap.

    Raises:
        JielongError: too few runs, or all of one size or of one number of tokens.
    """
    table = np.array([(run.parameters, run.tokens, run.loss) for run in runs], np.float64).reshape(-1, 3)
    if not _fits(table):
        raise JielongError(
            f"a scaling law needs six runs or more of at least three sizes and three numbers of tokens; "
            f"there are {len(table)} runs"
        )
    theta, _ = min((_refine(table, start) for start in _grid(table)[:_STARTS]), key=lambda found: found[1])
    e, a, b = np.exp(theta[:3]).tolist()
    law = ScalingLaw(e, a, b, float(theta[3]), float(theta[4]), unit, source, _ends(table[:, 0]))
    predicted = np.array([law.loss(size, tokens) for size, tokens, _ in table])
    drawn = _bootstrap(table, theta, draws, seed)
    alphas, betas = drawn[:, 3], drawn[:, 4]
    return LawFit(
        law=law,
        residual=float(np.sqrt(np.mean(np.log(predicted / table[:, 2]) ** 2))),
        alpha_interval=_interval(alphas),
        beta_interval=_interval(betas),
        size_exponent=law.beta / (law.alpha + law.beta),
        size_exponent_interval=_interval(betas / (alphas + betas)),
        draws=len(drawn),
    )


def _fits(table: NDArray[np.float64]) -> bool:
    distinct = min(len(np.unique(table[:, column])) for column in (0, 1))
    return len(table) >= 6 and distinct >= 3


def _grid(table: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Starting values (log e, log a, log b, alpha, beta), best first."""
    size, tokens, loss = table.T
    found = []
    for alpha, beta in itertools.product(_EXPONENTS, _EXPONENTS):
        # Relative to the measured loss, so that squares are about those of the logarithm.
        columns = np.stack([np.ones_like(loss), size**-alpha, tokens**-beta], axis=1) / loss[:, None]
        scale = np.linalg.norm(columns, axis=0)
        weights = np.linalg.lstsq(columns / scale, np.ones_like(loss), rcond=None)[0] / scale
        weights = np.maximum(weights, _TINY)
        error = float(np.sum((columns @ weights - 1) ** 2))
        found.append((error, np.array([*np.log(weights), alpha, beta])))
    return [theta for _, theta in sorted(found, key=lambda pair: pair[0])]


def _refine(table: NDArray[np.float64], start: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Minimise the Huber loss from a start; returns (theta, its loss)."""
    size, tokens, loss = torch.from_numpy(np.log(table)).unbind(1)
    theta = torch.from_numpy(start.copy()).requires_grad_()
    optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
        [theta], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        e, a, b, alpha, beta = theta
        terms = torch.stack([e.expand_as(size), a - alpha * size, b - beta * tokens])
        error = torch.logsumexp(terms, 0) - loss
        # Divided by delta, so that the gradient is not too flat to follow.
        return torch.nn.functional.huber_loss(error, torch.zeros_like(error), delta=_HUBER) / _HUBER**2

    def closure() -> float:
        optimizer.zero_grad()
        value = objective()
        torch.autograd.backward(value)
        return value.item()

    optimizer.step(closure)
    return theta.detach().numpy().copy(), objective().item()


def _bootstrap(
    table: NDArray[np.float64], theta: NDArray[np.float64], draws: int, seed: int
) -> NDArray[np.float64]:
    """Laws of runs drawn with replacement, each begun at the law of all runs. Shape [draws, 5]."""
    random = np.random.default_rng(seed)
    found: list[NDArray[np.float64]] = []
    while len(found) < draws:
        drawn = table[random.integers(0, len(table), len(table))]
        if _fits(drawn):
            found.append(_refine(drawn, theta)[0])
    return np.array(found).reshape(-1, 5)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    if len(values) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.min()), float(values.max())
