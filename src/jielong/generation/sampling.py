"""Rolling the die: from logits to the next token.

Filters follow transformers' order: repetition penalty, temperature, top-k, top-p, min-p. Each of the last
three keeps the tokens above some level, so together they are one threshold per row, and only the few
likeliest logits ever need sorting.
"""

import math

import numpy as np
import torch
from torch import Tensor

from jielong.generation.settings import SamplingSettings

# A nucleus (top-p) is looked for among this many likeliest tokens before the whole vocabulary is sorted.
_NUCLEUS_GUESS = 64


def penalize_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that were already seen less likely (Keskar et al. 2019, arXiv 1909.05858, section 4.1).

    Args:
        logits: [B, V].
        seen: bool [B, V], true for tokens in the row's prompt or answer.
        penalty: divides positive logits of seen tokens and multiplies negative ones.
    """
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def top_p_threshold(logits: Tensor, p: float, likeliest: Tensor | None = None) -> Tensor:
    """The smallest logit of each row's nucleus, [B, 1] (Holtzman et al. 2020, arXiv 1904.09751, section 3.1).

    The nucleus is the fewest likeliest tokens whose probabilities reach p.

    Args:
        logits: [B, V]; may hold -inf.
        p: above 0, below 1.
        likeliest: the largest logits of each row in order, [B, k], where they are known already.
    """
    vocabulary = logits.shape[-1]
    normaliser = logits.logsumexp(dim=-1, keepdim=True)
    if likeliest is None:
        likeliest = logits.topk(min(_NUCLEUS_GUESS, vocabulary), dim=-1).values
    while True:
        known = likeliest.shape[-1]
        mass = (likeliest - normaliser).exp().cumsum(dim=-1)
        if known == vocabulary or bool((mass[:, -1] >= p).all()):
            break
        likeliest = logits.topk(vocabulary if known * 16 > vocabulary else known * 8, dim=-1).values
    # A token belongs to the nucleus when the mass before it has not reached p; the likeliest one always does.
    size = 1 + (mass[:, :-1] < p).sum(dim=-1, keepdim=True)
    return likeliest.gather(-1, size - 1)


def min_p_threshold(logits: Tensor, min_p: float) -> Tensor:
    """The logit of a token min_p times as likely as the likeliest, [B, 1] (arXiv 2407.01082, section 3)."""
    return logits.amax(dim=-1, keepdim=True) + math.log(min_p)


def adjusted_probabilities(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Probabilities of the die that is rolled: after temperature, top-k, top-p and min-p.

    Args:
        logits: [B, V], after the repetition penalty.
        settings: temperature must be above 0.

    Returns:
        [B, V], rows adding up to 1, filtered tokens exactly 0.
    """
    logits = logits.float() / settings.temperature
    likeliest = None
    if settings.top_k:
        likeliest = logits.topk(min(settings.top_k, logits.shape[-1]), dim=-1).values
        # Tokens that tie with the k-th are kept, as in transformers.
        logits = _drop_below(logits, likeliest[:, -1:])
    if settings.top_p < 1:
        logits = _drop_below(logits, top_p_threshold(logits, settings.top_p, likeliest))
    if settings.min_p > 0:
        logits = _drop_below(logits, min_p_threshold(logits, settings.min_p))
    return logits.softmax(dim=-1)


def roll(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Choose one token per row by inverting the cumulative distribution.

    One uniform number decides one token, so a row's token depends on its own probabilities and its own number
    only; rounding differences between batch shapes move the borders of the intervals by about 1e-7 and change
    a token only when the number falls between.

    Args:
        probabilities: [B, V], rows adding up to about 1.
        uniforms: float64 [B], in [0, 1).

    Returns:
        int64 [B]; never a token of probability 0.
    """
    cumulative = probabilities.double().cumsum(dim=-1)
    # Scaled by the row's own total, so that rounding cannot leave the number beyond the last token.
    target = uniforms[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    # u * total may round up to total itself; then the last token with any probability is meant.
    last = (cumulative < cumulative[:, -1:]).sum(dim=-1)
    return torch.minimum(chosen, last)


def uniform_numbers(seed: int, row: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Numbers that row `row` rolls with under `seed`, the same on every device: float64 [count] in [0, 1).

    A longer request begins with the same numbers as a shorter one.
    """
    return np.random.Generator(np.random.PCG64([seed, row])).random(count)


def _drop_below(logits: Tensor, threshold: Tensor) -> Tensor:
    return logits.masked_fill(logits < threshold, -math.inf)
