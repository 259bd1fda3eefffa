"""Key-value cache with fixed buffers, and the masks that say which keys a query may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from jielong.models.attention import attend, attend_after, attend_one
from jielong.models.config import ModelConfig


@dataclass(frozen=True, slots=True)
class KVCache:
    """Keys and values of the tokens seen so far: per layer a buffer [B, Hkv, L, Dh].

    A row's key of position p lies in slot p, so rows of one batch may be at different positions, and a slot
    is overwritten when its position is computed again. Slots never written hold zeros; the mask must hide
    them.
    """

    keys: list[Tensor]
    values: list[Tensor]

    @classmethod
    def allocate(
        cls,
        config: ModelConfig,
        batch: int,
        length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "KVCache":
        """Make an empty cache for `batch` rows of at most `length` tokens."""
        shape = (batch, config.num_key_value_heads, length, config.head_dim)

        def buffers() -> list[Tensor]:
            return [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)]

        return cls(buffers(), buffers())

    @property
    def batch(self) -> int:
        """Number of rows B."""
        return self.keys[0].shape[0]

    @property
    def length(self) -> int:
        """Slots L of each row."""
        return self.keys[0].shape[2]

    @property
    def both(self) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values."""
        return self.keys, self.values

    def copy_row(self, row: int, source: "KVCache", source_row: int, length: int) -> None:
        """Make the first `length` slots of a row equal to those of a row of another cache, or of this one."""
        for targets, origins in zip(self.both, source.both, strict=True):
            for target, origin in zip(targets, origins, strict=True):
                target[row, :, :length] = origin[source_row, :, :length]

    def row(self, row: int, length: int) -> "KVCache":
        """A copy of the first `length` slots of a row: a cache of one row."""
        return KVCache(*([part[row : row + 1, :, :length].clone() for part in parts] for parts in self.both))

    def followed_by(self, other: "KVCache") -> "KVCache":
        """The slots of these rows, then those of another cache's rows."""
        return KVCache(
            *(
                [torch.cat(pair, 2) for pair in zip(*parts, strict=True)]
                for parts in zip(self.both, other.both, strict=True)
            )
        )


class CacheRows(NamedTuple):
    """Neighbouring rows of a cache, as one forward pass uses them."""

    cache: KVCache
    first: int
    """The row of the cache that belongs to the first of these rows of the batch."""
    rows: int
    length: int
    """Slots that attention reads: above every position of these rows in this pass."""
    aligned: bool = False
    """One token a row, each in slot length - 1: every query may see every slot that is read."""
    shared: KVCache | None = None
    """A cache of one row that stands before each of these rows: their slot 0 is the position after it."""


class CachePass:
    """What all layers of one forward pass share about some rows' cache: where to write, what to hide.

    Args:
        rows: the cache's rows.
        positions: [rows, T] of the new tokens.
        window: a sliding window of some layers, in tokens; with one, nothing can be shared.
    """

    def __init__(self, rows: CacheRows, positions: Tensor, window: int | None) -> None:
        cache, first, count, length, aligned, shared = rows
        if shared is not None:
            positions = positions - shared.length
        keys = cache.keys[0]
        heads = torch.arange(keys.shape[1], device=positions.device)
        owners = torch.arange(first, first + count, device=positions.device)
        # Slots of all rows and heads, counted through: where index_copy_ writes [rows, T, Hkv] vectors.
        slots = (owners[:, None, None] * keys.shape[1] + heads) * keys.shape[2] + positions[:, :, None]
        self._slots = slots.flatten()
        self._rows = rows
        windowed = window is not None and length > window
        # A whole prompt from its start needs no mask: attention that is causal says it all.
        plain = aligned or (positions.shape[1] == length and shared is None)
        self._mask = None if plain else _additive(causal_cache_mask(positions, length), keys.dtype)
        self._window_mask = self._mask
        if windowed:
            self._window_mask = _additive(causal_cache_mask(positions, length, window), keys.dtype)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, windowed: bool) -> Tensor:
        """Write the new keys and values, and attend to all.

        Args:
            layer: whose cache.
            query: [rows, T, H, Dh].
            key: [rows, T, Hkv, Dh].
            value: like `key`.
            windowed: whether this layer has the sliding window.

        Returns:
            [rows, T, H * Dh].
        """
        cache, first, count, length, _, shared = self._rows
        keys, values = cache.keys[layer], cache.values[layer]
        width = key.shape[-1]
        keys.view(-1, width).index_copy_(0, self._slots, key.reshape(-1, width).to(keys.dtype))
        values.view(-1, width).index_copy_(0, self._slots, value.reshape(-1, width).to(keys.dtype))
        keys = keys[first : first + count, :, :length]
        values = values[first : first + count, :, :length]
        mask = self._window_mask if windowed else self._mask
        asked = query.to(keys.dtype)
        if shared is not None:
            mixed = attend_after(asked, (shared.keys[layer], shared.values[layer]), keys, values, mask)
        elif query.shape[1] == 1:
            mixed = attend_one(asked, keys, values, mask)
        else:
            mixed = attend(asked.transpose(1, 2), keys, values, mask).transpose(1, 2)
        return mixed.flatten(2).type_as(query)


def cache_passes(
    parts: Sequence[CacheRows], positions: Tensor, window: int | None
) -> list[tuple[slice, CachePass]]:
    """Divide a batch with positions [B, T] among parts of caches, in order.

    Returns:
        The rows of the batch and their cache, for each part.
    """
    passes = []
    start = 0
    for part in parts:
        rows = slice(start, start + part.rows)
        passes.append((rows, CachePass(part, positions[rows], window)))
        start += part.rows
    return passes


def causal_cache_mask(positions: Tensor, length: int, window: int | None = None) -> Tensor:
    """True where the query at `positions` [B, Tq] may attend to the key in slot 0..length-1.

    Args:
        positions: positions of the queries.
        length: number of cache slots; slot index equals key position.
        window: a sliding window in tokens, the query itself included.

    Returns:
        bool [B, 1, Tq, length].
    """
    slots = torch.arange(length, device=positions.device).unsqueeze(0)
    mask = (slots.unsqueeze(1) <= positions.unsqueeze(2)).unsqueeze(1)
    return mask if window is None else mask & window_mask(positions, slots, window)


def packed_mask(segments: Tensor) -> Tensor:
    """True where a token may attend to an earlier one, or itself, of the same document.

    Args:
        segments: [B, T], the document number of each token; all padding has one number of its own, so a
            padding token attends to padding only, and to itself at least (a row without any key would be
            NaN).

    Returns:
        bool [B, 1, T, T].
    """
    index = torch.arange(segments.shape[1], device=segments.device)
    same = segments.unsqueeze(2) == segments.unsqueeze(1)
    return (same & (index.unsqueeze(1) >= index)).unsqueeze(1)


def window_mask(positions: Tensor, key_positions: Tensor, window: int) -> Tensor:
    """True where a key is at most `window - 1` tokens before the query; bool [B, 1, Tq, Tk]."""
    return (positions.unsqueeze(2) - key_positions.unsqueeze(1) < window).unsqueeze(1)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a bool mask is true and -inf elsewhere: torch would work it out anew in every layer."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
