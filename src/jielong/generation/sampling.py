"""Rolling the die: from logits to the next token.

Filters follow transformers' order: repetition penalty, temperature, top-k, top-p, min-p. Each of the last
three keeps the tokens above some level, so together they are one threshold per row, and only the few
likeliest logits ever need sorting. Rows of one batch may have different settings.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.generation.settings import SamplingSettings

# A nucleus (top-p) is looked for among this many likeliest tokens before the whole vocabulary is sorted.
_NUCLEUS_GUESS = 64
# Tokens whose probabilities are added up together when the die is rolled.
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Dice:
    """The dice of a batch: each setting as a tensor [B, 1], or None where no row has use for it."""

    temperature: Tensor | None
    """None: all rows take the likeliest token. Greedy rows have 1 here."""
    greedy: Tensor | None
    """bool [B]; None where no row is greedy."""
    top_k: Tensor | None
    top_p: Tensor | None
    min_p: Tensor | None

    @classmethod
    def of(cls, settings: Sequence[SamplingSettings], device: torch.device | str = "cpu") -> "Dice":
        """The dice of rows with these settings; those of one row serve any number of equal rows."""

        def column(value: Callable[[SamplingSettings], float], dtype: torch.dtype) -> Tensor:
            return torch.tensor([[value(one)] for one in settings], dtype=dtype, device=device)

        rolling = [one for one in settings if one.temperature > 0]
        if not rolling:
            return cls(None, None, None, None, None)
        greedy = torch.tensor([one.temperature == 0 for one in settings], device=device)
        return cls(
            column(lambda one: one.temperature or 1.0, torch.float32),
            greedy if len(rolling) < len(settings) else None,
            column(lambda one: one.top_k, torch.int64) if any(one.top_k for one in rolling) else None,
            column(lambda one: one.top_p, torch.float32) if any(one.top_p < 1 for one in rolling) else None,
            column(lambda one: one.min_p, torch.float32) if any(one.min_p > 0 for one in rolling) else None,
        )


def penalize_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that were already seen less likely (Keskar et al. 2019, arXiv 1909.05858, section 4.1).

    Args:
        logits: [..., V].
        seen: bool [..., V], true for tokens in the row's prompt or answer.
        penalty: divides positive logits of seen tokens and multiplies negative ones.
    """
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def top_p_threshold(logits: Tensor, p: Tensor, likeliest: Tensor | None = None) -> Tensor:
    """The smallest logit of each row's nucleus, [B, 1] (Holtzman et al. 2020, arXiv 1904.09751, section 3.1).

    The nucleus is the fewest likeliest tokens whose probabilities reach p.

    Args:
        logits: [B, V]; may hold -inf.
        p: [B, 1] or [1, 1], above 0; from 1 on nothing is left out.
        likeliest: the largest logits of each row in order, [B, k], where they are known already.
    """
    vocabulary = logits.shape[-1]
    normaliser = logits.logsumexp(dim=-1, keepdim=True)
    if likeliest is None:
        likeliest = logits.topk(min(_NUCLEUS_GUESS, vocabulary), dim=-1).values
    while True:
        known = likeliest.shape[-1]
        mass = (likeliest - normaliser).exp().cumsum(dim=-1)
        if known == vocabulary or bool(((mass[:, -1:] >= p) | (p >= 1)).all()):
            break
        likeliest = logits.topk(vocabulary if known * 16 > vocabulary else known * 8, dim=-1).values
    # A token belongs to the nucleus when the mass before it has not reached p; the likeliest one always does.
    size = 1 + (mass[:, :-1] < p).sum(dim=-1, keepdim=True)
    return likeliest.gather(-1, size - 1).masked_fill(p >= 1, -math.inf)


def min_p_threshold(logits: Tensor, min_p: Tensor) -> Tensor:
    """The logit of a token min_p times as likely as the likeliest, [B, 1] (arXiv 2407.01082, section 3)."""
    return logits.amax(dim=-1, keepdim=True) + min_p.log()


def adjusted_probabilities(logits: Tensor, dice: Dice) -> Tensor:
    """Probabilities of the dice that are rolled: after temperature, top-k, top-p and min-p.

    Args:
        logits: [B, V], after penalties.
        dice: of B rows, or of one for all; with a temperature.

    Returns:
        float32 [B, V], rows adding up to 1, filtered tokens exactly 0.
    """
    assert dice.temperature is not None  # noqa: S101 - greedy rows are not rolled
    logits = logits.float() / dice.temperature
    likeliest = None
    if dice.top_k is not None:
        k = torch.where(dice.top_k > 0, dice.top_k, logits.shape[-1]).clamp(max=logits.shape[-1])
        some_keep_all = bool((dice.top_k == 0).any())
        most = int(torch.where(dice.top_k > 0, k, 1).max())
        likeliest = logits.topk(most, dim=-1).values
        threshold = likeliest.gather(-1, (k - 1).clamp(max=most - 1).expand(len(logits), 1))
        # Tokens that tie with the k-th are kept, as in transformers.
        logits = _drop_below(logits, threshold.masked_fill(dice.top_k == 0, -math.inf))
        if some_keep_all or bool((k < most).any()):
            likeliest = None  # they are not what some row keeps
    if dice.top_p is not None:
        logits = _drop_below(logits, top_p_threshold(logits, dice.top_p, likeliest))
    if dice.min_p is not None:
        logits = _drop_below(logits, min_p_threshold(logits, dice.min_p))
    return logits.softmax(dim=-1)


def roll(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Choose one token per row by inverting the cumulative distribution.

    One uniform number decides one token, so a row's token depends on its own probabilities and its own number
    only; rounding differences between batch shapes move the borders of the intervals by about 1e-7 and change
    a token only when the number falls between. Sums are taken over blocks of tokens first, then within the
    block that the number falls into: adding up a whole vocabulary one by one costs more than the network.

    Args:
        probabilities: [B, V], rows adding up to about 1.
        uniforms: float64 [B], in [0, 1).

    Returns:
        int64 [B]; never a token of probability 0.
    """
    rows, vocabulary = probabilities.shape
    blocks = F.pad(probabilities, (0, -vocabulary % _BLOCK)).view(rows, -1, _BLOCK)
    sums = blocks.sum(dim=-1).double()
    ends = sums.cumsum(dim=-1)
    # Scaled by the row's own total, so that rounding cannot leave the number beyond the last token.
    target = uniforms[:, None] * ends[:, -1:]
    block = _first_above(ends, target)
    within = blocks.gather(1, block[:, :, None].expand(-1, 1, _BLOCK)).squeeze(1).double().cumsum(dim=-1)
    before = ends.gather(1, block) - sums.gather(1, block)
    return (block * _BLOCK + _first_above(within, (target - before).clamp_(min=0))).squeeze(1)


def likeliest_tokens(logits: Tensor) -> Tensor:
    """The likeliest token of each row, int64 [B]; the first one where several are."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32 and len(logits) > 1:
        # NumPy compares many numbers at once where torch looks at one after the other.
        return torch.from_numpy(logits.numpy().argmax(axis=-1))
    return logits.argmax(dim=-1)


def uniform_numbers(seed: int, row: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Numbers that row `row` rolls with under `seed`, the same on every device: float64 [count] in [0, 1).

    A longer request begins with the same numbers as a shorter one.
    """
    return uniform_stream(seed, row).random(count)


def uniform_stream(seed: int, row: int) -> np.random.Generator:
    """The generator of a row's numbers: `random()` gives one after the other."""
    return np.random.Generator(np.random.PCG64([seed, row]))


def _first_above(cumulative: Tensor, target: Tensor) -> Tensor:
    """First place of each row [B, n] whose cumulative sum lies above the target [B, 1]; int64 [B, 1].

    A target that rounding has moved to the total means the last place that adds anything.
    """
    place = torch.searchsorted(cumulative, target, right=True)
    last = (cumulative < cumulative[:, -1:]).sum(dim=-1, keepdim=True)
    return torch.minimum(place, last)


def _drop_below(logits: Tensor, threshold: Tensor) -> Tensor:
    return logits.masked_fill(logits < threshold, -math.inf)
