"""Chats with answers as one batch: packed into rows, and every answer token found again."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.data.packing import best_fit, cut, fill
from jielong.feedback.objectives.distillation import token_logprobs
from jielong.feedback.objectives.masked import sum_by_row
from jielong.feedback.token_rows import TokenRow
from jielong.models import Transformer, packed_mask

_ROUNDED_TO = 16  # tokens; rows of a few lengths only, so that memory is reused


class AnswerInputs(NamedTuple):
    """B answers of up to A tokens, with what is said before them, in R packed rows of T tokens."""

    tokens: Tensor
    """[R, T] token ids."""
    positions: Tensor
    """[R, T] position of each token in its own sequence."""
    segments: Tensor
    """[R, T] number of the sequence within its row, 0 for padding."""
    before: Tensor
    """[B, A] place, in the flattened rows, of the token before each answer token: what predicts it."""
    targets: Tensor
    """[B, A] the answer tokens."""
    mask: Tensor
    """[B, A] True = an answer token."""


def pack_answers(rows: Sequence[TokenRow], pad: int, device: torch.device) -> AnswerInputs:
    """Pack chats into rows as long as the longest of them.

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
    lengths = np.array([len(row.ids) for row in rows], np.int64)
    width = -(-int(lengths.max()) // _ROUNDED_TO) * _ROUNDED_TO
    tokens = np.fromiter((token for row in rows for token in row.ids), np.int32, int(lengths.sum()))
    pieces, places = cut(lengths, width, False), best_fit(lengths, width)
    packed = fill(tokens, np.ones(len(tokens), bool), pieces, places, width, 0, pad)
    starts = places.rows * width + places.offsets
    counted = [np.flatnonzero(row.counted) for row in rows]
    mask = np.arange(max(map(len, counted))) < np.array([len(within) for within in counted])[:, None]
    place = np.ones(mask.shape, np.int64)  # of the answer tokens themselves; where there is none, any place
    place[mask] = np.concatenate([start + within for start, within in zip(starts, counted, strict=True)])
    arrays = (
        packed.tokens, packed.positions, packed.segments, place - 1, packed.tokens.reshape(-1)[place], mask
    )  # fmt: skip
    return AnswerInputs(*(_on(device, array) for array in arrays))


def _on(device: torch.device, array: np.ndarray) -> Tensor:
    wanted = array if array.dtype == np.bool_ else array.astype(np.int64, copy=False)
    return torch.from_numpy(wanted).to(device, non_blocking=True)


def hidden_before(model: Transformer, inputs: AnswerInputs) -> Tensor:
    """Hidden states [B, A, D] at the places that predict the answer tokens."""
    hidden: Tensor = model(inputs.tokens, inputs.positions, mask=packed_mask(inputs.segments))
    return hidden.flatten(0, 1)[inputs.before]


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
    hidden: Tensor = model(inputs.tokens, inputs.positions, mask=packed_mask(inputs.segments))
    return model.scores(hidden.flatten(0, 1)[inputs.before + 1])


def last_scores(model: Transformer, inputs: AnswerInputs) -> Tensor:
    """Scores [B] that a reward model gives to chats: those at the last tokens of their answers."""
    last = inputs.before.gather(1, inputs.mask.sum(1, keepdim=True) - 1)
    return token_scores(model, inputs._replace(before=last)).squeeze(1)


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
        with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            values = function(inputs)
        for value, count in zip(values, inputs.mask.sum(1).tolist(), strict=True):
            found.append(value[:count] if value.dim() else value)
    return found
