"""Scaled dot-product attention: torch's kernels, and one of our own for training on a CPU."""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_SHORT_ROW = 512
"""Tokens up to which training on a CPU writes the attention scores out."""
_BLOCK = 128
"""Queries whose scores are written out together, about."""


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention.

    Args:
        query: [B, H, Tq, Dh].
        key: [B, Hkv, Tk, Dh]; only as many slots as the mask has columns are read.
        value: like `key`.
        mask: bool [B, 1, Tq, keys], True may attend, or 0 and -inf to be added; never to a later key where
            Tq = keys. None is causal with Tq = Tk.

    Returns:
        [B, H, Tq, Dh].
    """
    if mask is not None:
        key, value = key[:, :, : mask.shape[-1]], value[:, :, : mask.shape[-1]]
    key, value = key.type_as(query), value.type_as(query)
    length = query.shape[2]
    if (
        mask is not None and query.device.type == "cpu" and torch.is_grad_enabled()
        and length == mask.shape[-1] <= _SHORT_ROW
    ):  # fmt: skip
        mixed: Tensor = _WrittenOut.apply(query, key, value, mask)  # type: ignore[no-untyped-call]
        return mixed
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and mask is not None and query.is_cuda:
        # CUDA's memory-efficient kernel takes a mask but no groups; the fallback builds the T x T scores.
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        groups = 1
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=groups > 1
    )


def attend_one(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of one new token a row, which may see all keys but those that the mask hides.

    The query heads that share a key-value head stand below each other, as if they were queries of one head,
    so that each key is read once; on a CPU that takes half the time of torch's own grouping.

    Args:
        query: [B, 1, H, Dh].
        key: [B, Hkv, Tk, Dh].
        value: like `key`.
        mask: [B, 1, 1, Tk], bool or to be added; None hides nothing.

    Returns:
        [B, 1, H, Dh].
    """
    batch, _, heads, width = query.shape
    grouped = query.reshape(batch, key.shape[1], heads // key.shape[1], width)
    if _in_loops(query):
        scores = _scores(grouped * width**-0.5, key)
        mixed: Tensor = _mixture((scores if mask is None else scores + mask).softmax(-1), value)
    else:
        mixed = F.scaled_dot_product_attention(grouped, key, value, attn_mask=mask)
    return mixed.reshape(batch, 1, heads, width)


def attend_after(
    query: Tensor, shared: tuple[Tensor, Tensor], key: Tensor, value: Tensor, mask: Tensor | None
) -> Tensor:
    """Attention of rows that begin with the same keys and values, which are read once for all rows.

    The queries of all rows stand below each other, as if they were one row's, and meet the shared keys in one
    matrix product (Juravsky et al., "Hydragen", arXiv 2402.05099, section 3).

    Args:
        query: [B, T, H, Dh], at positions after the shared keys.
        shared: keys and values, each [1, Hkv, P, Dh], that every query may see.
        key: [B, Hkv, Tk, Dh] of each row's own.
        value: like `key`.
        mask: [B, 1, T, Tk] to be added to the scores of the own keys; None hides nothing.

    Returns:
        [B, T, H, Dh].
    """
    batch, length, _, width = query.shape
    first_keys, first_values = shared[0][0], shared[1][0]
    kv_heads, before = first_keys.shape[:2]
    grouped = (query * width**-0.5).view(batch, length, kv_heads, -1, width).transpose(1, 2)
    grouped = grouped.transpose(2, 3)  # [B, Hkv, G, T, Dh]
    far = grouped.transpose(0, 1).reshape(kv_heads, -1, width) @ first_keys.mT
    near = _scores(grouped.flatten(2, 3), key).unflatten(2, (-1, length))
    if mask is not None:
        near = near + mask[:, :, None]
    far = far.view(kv_heads, batch, -1, length, before).transpose(0, 1)
    weights = torch.cat((far, near), -1).softmax(-1)
    far = weights[..., :before].transpose(0, 1).reshape(kv_heads, -1, before) @ first_values
    near = _mixture(weights[..., before:].flatten(2, 3), value).unflatten(2, (-1, length))
    mixed = far.view(kv_heads, batch, -1, length, width).transpose(0, 1) + near
    return mixed.permute(0, 3, 1, 2, 4).reshape(query.shape)


def _in_loops(query: Tensor) -> bool:
    """Whether to write small products as sums of products.

    Inductor joins them to two loops; what it calls instead for many small matrices takes twice as long.
    """
    return torch.compiler.is_compiling() and query.device.type == "cpu"


def _scores(query: Tensor, key: Tensor) -> Tensor:
    """[B, Hkv, Q, Dh] by [B, Hkv, K, Dh]: [B, Hkv, Q, K]."""
    if _in_loops(query):
        return (query[:, :, :, None] * key[:, :, None]).sum(-1)
    return query @ key.mT


def _mixture(weights: Tensor, value: Tensor) -> Tensor:
    """[B, Hkv, Q, K] by [B, Hkv, K, Dh]: [B, Hkv, Q, Dh]."""
    if _in_loops(weights):
        return (weights[..., None] * value[:, :, None]).sum(-2)
    return weights @ value


def kept_scores(length: int) -> int:
    """Scores a head that one row of `length` tokens keeps for the backward pass on a CPU.

    None for a long row, which torch's kernel works on.
    """
    return sum((end - start) * end for start, end in _blocks(length)) if length <= _SHORT_ROW else 0


class _WrittenOut(torch.autograd.Function):
    """Causal attention with its scores written out: on short rows torch's fused CPU kernel is slow backwards.

    A block of queries meets only the keys up to its end, so a part of the T x T square, towards a half, is
    never computed. Of a block, exp(score - row's maximum) is kept, in the type of the values, and the sum of
    each row; the division by that sum waits until after the product with the values. The way back is
    FlashAttention's (Dao et al., arXiv 2205.14135, appendix B.2).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        scale, width = query.shape[-1] ** -0.5, query.shape[-1]
        grouped = query.view(len(query), key.shape[1], -1, *query.shape[2:])  # [B, Hkv, H / Hkv, T, Dh]
        outs, kept = [], []
        for start, end in _blocks(query.shape[2]):
            scores = _rows(grouped, start, end) @ key[:, :, :end].mT
            # The queries that share a key-value head stand below each other: [B, Hkv, H / Hkv * block, end].
            allowed = mask[:, :, None, start:end, :end].expand(-1, -1, grouped.shape[2], -1, -1)
            scores = torch.where(allowed.flatten(2, 3), scores.float() * scale, -math.inf)
            powers = (scores - scores.amax(-1, keepdim=True)).exp().type_as(value)
            total = powers.float().sum(-1, keepdim=True)
            out = ((powers @ value[:, :, :end]).float() / total).type_as(value)
            outs.append(out.view(*grouped.shape[:3], -1, width))
            kept += [powers, total]
        mixed = torch.cat(outs, 3)
        ctx.save_for_backward(grouped, key, value, mixed, *kept)
        return mixed.flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, mixed, *kept = ctx.saved_tensors
        scale = query.shape[-1] ** -0.5
        gradient = gradient.view(query.shape)
        to_query = []
        to_key, to_value = torch.zeros_like(key), torch.zeros_like(value)
        for number, (start, end) in enumerate(_blocks(query.shape[3])):
            powers, total = kept[2 * number : 2 * number + 2]
            part = _rows(gradient, start, end).float() / total
            shared = (part * _rows(mixed, start, end).float()).sum(-1, keepdim=True)
            part = part.type_as(value)
            to_powers = (part @ value[:, :, :end].mT).float()
            to_scores = (powers.float() * (to_powers - shared) * scale).type_as(query)
            to_query.append((to_scores @ key[:, :, :end]).view(*query.shape[:3], -1, query.shape[-1]))
            later = (0, 0, 0, key.shape[2] - end)
            to_key = to_key + F.pad(to_scores.mT @ _rows(query, start, end), later)
            to_value = to_value + F.pad(powers.mT @ part, later)
        return torch.cat(to_query, 3).flatten(1, 2), to_key, to_value, None


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    """First and last (not included) query of each block; all blocks but the last are of one size."""
    size = math.ceil(length / math.ceil(length / _BLOCK))
    for start in range(0, length, size):
        yield start, min(start + size, length)


def _rows(grouped: Tensor, start: int, end: int) -> Tensor:
    """Some positions of [B, Hkv, G, T, Dh], a group's heads below each other: [B, Hkv, G * positions, Dh]."""
    return grouped[:, :, :, start:end].flatten(2, 3)
