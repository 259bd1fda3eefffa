"""Chats with answers as one batch: packed into rows, and every answer token found again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.data.packing import best_fit
from jielong.feedback.objectives.distillation import token_logprobs
from jielong.feedback.objectives.masked import sum_by_row
from jielong.feedback.token_rows import TokenRow
from jielong.models import Transformer, packed_mask
from jielong.training.precision import computing_in

_ROUNDED_TO = 8  # tokens; rows of a few lengths only, so that memory is reused
_TOKEN_WORTH = 512
"""Scores of attention that cost about as much as a token's way through the matrices of a small network."""
_LONGEST_BUNDLE = 512  # tokens, unless a single chat is longer


class AnswerInputs(NamedTuple):
    """B answers of up to A tokens, with what is said before them, in R packed rows of T tokens.

    Answers to one prompt may share it: a bundle is a prompt and, behind it, some of its answers, each of
    which sees the prompt and itself.
    """

    tokens: Tensor
    """[R, T] token ids."""
    positions: Tensor
    """[R, T] position of each token in its own chat."""
    segments: Tensor
    """[R, T] number of the bundle within its row, 0 for padding."""
    branches: Tensor
    """[R, T] number of the answer within its bundle, 0 for the prompt and padding."""
    places: Tensor
    """[B, A] place of each answer token in the flattened rows."""
    before: Tensor
    """[B, A] place of the token before it: what predicts it."""
    targets: Tensor
    """[B, A] the answer tokens."""
    mask: Tensor
    """[B, A] True = an answer token."""


def split_inputs(inputs: Sequence[Tensor]) -> tuple[AnswerInputs, list[Tensor]]:
    """The answers of a batch, and what stands behind them."""
    fields = len(AnswerInputs._fields)
    return AnswerInputs(*inputs[:fields]), list(inputs[fields:])


def pack_answers(rows: Sequence[TokenRow], pad: int, device: torch.device) -> AnswerInputs:
    """Pack chats into rows as long as the longest bundle of them.

    Args:
        rows: chats in tokens; what counts in them is the answer, in one piece or, with a tool's or a user's
            words in between, in several.
        pad: the token that fills rows up.
        device: where the tensors go.

    Raises:
        JielongError: nothing counts in a chat, or its first token does, which nothing predicts.
    """
    if not all(any(row.counted) and not row.counted[0] for row in rows):
        raise JielongError("a chat has no answer, or nothing before it, so there is nothing to learn from it")
    rows = [_up_to_answer(row) for row in rows]
    bundles = _bundles(rows)
    sizes = np.array([bundle.size for bundle in bundles], np.int64)
    width = -(-int(sizes.max()) // _ROUNDED_TO) * _ROUNDED_TO
    fit = best_fit(sizes, width)
    shape = fit.count, width
    tokens, positions, segments, branches = (np.full(shape, fill, np.int64) for fill in (pad, 0, 0, 0))
    within: list[np.ndarray] = [np.empty(0, np.int64)] * len(rows)  # places of each chat's tokens
    for bundle, start, segment in zip(bundles, fit.rows * width + fit.offsets, fit.segments, strict=True):
        end = start + bundle.prompt
        shared = np.arange(start, end)
        for branch, chat in enumerate(bundle.chats, 1):
            answer = np.arange(end, end + len(rows[chat].ids) - bundle.prompt)
            within[chat] = np.concatenate([shared, answer])
            branches.flat[answer] = branch
            end += len(answer)
        segments.flat[start:end] = segment
    for row, places in zip(rows, within, strict=True):
        tokens.flat[places] = row.ids
        positions.flat[places] = np.arange(len(places))
    counted = [np.flatnonzero(row.counted) for row in rows]
    mask = np.arange(max(map(len, counted))) < np.array([len(inside) for inside in counted])[:, None]
    own, before = (np.zeros(mask.shape, np.int64) for _ in range(2))  # where there is no token, any place
    answers = list(zip(within, counted, strict=True))
    own[mask] = np.concatenate([places[inside] for places, inside in answers])
    before[mask] = np.concatenate([places[inside - 1] for places, inside in answers])
    arrays = tokens, positions, segments, branches, own, before, tokens.reshape(-1)[own], mask
    return AnswerInputs(*(_on(device, array) for array in arrays))


def _up_to_answer(row: TokenRow) -> TokenRow:
    """Without what follows the last token that counts, such as a line's end, which changes nothing."""
    end = len(row.counted) - row.counted[::-1].index(True)
    return row if end == len(row.ids) else TokenRow(row.ids[:end], row.counted[:end])


@dataclass(slots=True)
class _Bundle:
    """Chats that begin alike, up to their answers."""

    prompt: int
    """Tokens of the prompt."""
    size: int
    """Tokens of the prompt and of all answers."""
    chats: list[int]


def _bundles(rows: Sequence[TokenRow]) -> list[_Bundle]:
    """Let answers share a prompt where that saves more in the matrices than longer rows cost in attention.

    Of a prompt of p tokens, a further answer of a tokens saves p; beside answers of A tokens in all it costs
    (p + A + a)^2 - (p + A)^2 - (p + a)^2 = 2 a A - p^2 scores, half of which causal attention leaves out.
    """
    longest = max(_LONGEST_BUNDLE, *(len(row.ids) for row in rows))
    bundles: list[_Bundle] = []
    newest: dict[tuple[int, ...], _Bundle] = {}  # by prompt
    for number, row in enumerate(rows):
        prompt = row.counted.index(True)
        answer, key = len(row.ids) - prompt, tuple(row.ids[:prompt])
        open_one = newest.get(key)
        if (
            open_one is not None
            and open_one.size + answer <= longest
            and _TOKEN_WORTH * prompt > answer * (open_one.size - prompt) - prompt**2 // 2
        ):
            open_one.size += answer
            open_one.chats.append(number)
            continue
        newest[key] = _Bundle(prompt, len(row.ids), [number])
        bundles.append(newest[key])
    return bundles


def _mask(inputs: AnswerInputs) -> Tensor:
    """Which token may attend to which: bool [R, 1, T, T]."""
    branches = inputs.branches
    seen = (branches.unsqueeze(1) == 0) | (branches.unsqueeze(1) == branches.unsqueeze(2))
    return packed_mask(inputs.segments) & seen.unsqueeze(1)


def _hidden(model: Transformer, inputs: AnswerInputs) -> Tensor:
    """Hidden states [R * T, D]."""
    hidden: Tensor = model(inputs.tokens, inputs.positions, mask=_mask(inputs))
    return hidden.flatten(0, 1)


def _on(device: torch.device, array: np.ndarray) -> Tensor:
    wanted = array if array.dtype == np.bool_ else array.astype(np.int64, copy=False)
    return torch.from_numpy(wanted).to(device, non_blocking=True)


def hidden_before(model: Transformer, inputs: AnswerInputs) -> Tensor:
    """Hidden states [B, A, D] at the places that predict the answer tokens."""
    return _hidden(model, inputs)[inputs.before]


def answer_logprobs(
    model: Transformer, inputs: AnswerInputs, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the answer tokens and entropies at their places, [B, A] each, zero elsewhere.

    Args:
        model: the network.
        inputs: the answers.
        temperature: that the tokens are, or were, sampled at.
    """
    hidden = hidden_before(model, inputs)
    return token_logprobs(hidden, model.head, inputs.targets, inputs.mask, temperature=temperature)


def answer_sums(model: Transformer, inputs: AnswerInputs) -> Tensor:
    """Log-probabilities [B] of whole answers."""
    return sum_by_row(answer_logprobs(model, inputs)[0], inputs.mask)


def token_scores(model: Transformer, inputs: AnswerInputs) -> Tensor:
    """Scores [B, A] that a reward model gives at the counted tokens; meaningless outside of the mask."""
    return model.scores(_hidden(model, inputs)[inputs.places])


def last_scores(model: Transformer, inputs: AnswerInputs) -> Tensor:
    """Scores [B] that a reward model gives to chats: those at the last tokens of their answers."""
    last = inputs.places.gather(1, inputs.mask.sum(1, keepdim=True) - 1)
    return token_scores(model, inputs._replace(places=last)).squeeze(1)


def in_groups(sizes: Sequence[int], most: int) -> list[slice]:
    """Cut consecutive sequences into groups of at most so many tokens; a longer one is a group alone."""
    groups: list[slice] = []
    start, held = 0, 0
    for place, size in enumerate(sizes):
        if held and held + size > most:
            groups.append(slice(start, place))
            start, held = place, 0
        held += size
    return [*groups, slice(start, len(sizes))] if sizes else []


def without_gradient(
    function: Callable[[AnswerInputs], Tensor],
    rows: Sequence[TokenRow],
    pad: int,
    device: torch.device,
    dtype: torch.dtype,
    tokens_at_once: int = 8192,
) -> list[Tensor]:
    """Apply a function to chats a few at a time, in the precision of the training.

    Returns:
        What the function gave, one tensor an answer, [...]; of [B, A] only what each answer fills.
    """
    found: list[Tensor] = []
    for group in in_groups([len(row.ids) for row in rows], tokens_at_once):
        inputs = pack_answers(rows[group], pad, device)
        with torch.no_grad(), computing_in(dtype, device):
            values = function(inputs)
        for value, count in zip(values, inputs.mask.sum(1).tolist(), strict=True):
            found.append(value[:count] if value.dim() else value)
    return found
