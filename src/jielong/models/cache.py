"""Key-value cache with fixed buffers, and the masks that say which keys a query may see."""

from dataclasses import dataclass

import torch
from torch import Tensor

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

    def write(self, layer: int, key: Tensor, value: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Store key and value [B, T, Hkv, Dh] at `positions` [B, T]; give the layer's whole buffers."""
        rows = torch.arange(positions.shape[0], device=positions.device).unsqueeze(1)
        self.keys[layer][rows, :, positions] = key.to(self.keys[layer].dtype)
        self.values[layer][rows, :, positions] = value.to(self.values[layer].dtype)
        return self.keys[layer], self.values[layer]

    def select_rows(self, rows: Tensor) -> "KVCache":
        """A new cache of the given rows [N], in that order; a row may be taken several times."""
        return KVCache(
            [k.index_select(0, rows) for k in self.keys], [v.index_select(0, rows) for v in self.values]
        )


def causal_cache_mask(positions: Tensor, length: int, window: int | None = None) -> Tensor:
    """True where the query at `positions` [B, Tq] may attend to the key in slot 0..length-1.

    Args:
        positions: positions of the queries.
        length: number of cache slots; slot index equals key position.
        window: a sliding window in tokens, the query itself included. The network applies its own window to
            every mask, so callers leave this out.

    Returns:
        bool [B, 1, Tq, length].
    """
    return _causal(positions, torch.arange(length, device=positions.device).unsqueeze(0), window)


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


def _causal(positions: Tensor, key_positions: Tensor, window: int | None) -> Tensor:
    mask = (key_positions.unsqueeze(1) <= positions.unsqueeze(2)).unsqueeze(1)
    return mask if window is None else mask & window_mask(positions, key_positions, window)
