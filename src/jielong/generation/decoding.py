"""Rows that decode together: a static key-value cache, one prefill, then one token per row and step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jielong.generation.sampling import (
    adjusted_probabilities,
    penalize_repetition,
    roll,
    uniform_numbers,
)
from jielong.generation.settings import SamplingSettings
from jielong.models import KVCache, Transformer, causal_cache_mask

# The cache grows by this many positions, so that copying it (about as dear as one step's attention) is rare
# ...
_GROWTH = 128
# ... and attention reads it up to the next multiple of this, so that few unused positions are read.
_ATTENDED = 16
# Prompt tokens, padding included, that go through the network at once.
_PREFILL_TOKENS = 4096


class DecodingBatch:
    """The rows' cache and positions. Slot i of every tensor belongs to the i-th row that is still kept.

    Rows of different lengths lie left-aligned in the cache; what padding wrote beyond a row's end is never
    attended to, because each of the row's new tokens overwrites its place before the mask opens it.
    """

    def __init__(self, model: Transformer, prompts: Sequence[Sequence[int]]):
        self._model = model
        self._context = model.config.max_position_embeddings
        self._device = next(model.parameters()).device
        self._prompts = prompts
        lengths = [len(prompt) for prompt in prompts]
        # Positions of the next token of each slot, [B]; `_used` bounds them from above without a device read.
        self._positions = torch.tensor(lengths, device=self._device)
        self._used = max(lengths)
        self._length = self._buffer_length(self._used + 1)
        self._cache = self._allocate(len(prompts), self._length)

    def prefill(self) -> Tensor:
        """Run all prompts through the network; logits [B, V] after each prompt's last token."""
        logits = []
        start = 0
        while start < len(self._prompts):
            stop = start + 1
            longest = len(self._prompts[start])
            while stop < len(self._prompts):
                longest = max(longest, len(self._prompts[stop]))
                if longest * (stop + 1 - start) > _PREFILL_TOKENS:
                    break
                stop += 1
            logits.append(self._prefill_rows(start, stop))
            start = stop
        return torch.cat(logits)

    def step(self, tokens: Tensor) -> Tensor:
        """Append one token to every row, int64 [B]; logits [B, V] for the token after it."""
        if self._used >= self._length:
            self._rebuild(None, self._buffer_length(self._used + 1))
        positions = self._positions[:, None]
        attended = min(_round_up(self._used + 1, _ATTENDED), self._length)
        mask = causal_cache_mask(positions, attended)
        hidden = self._model(tokens[:, None], positions, mask=mask, cache=self._cache)
        # A row that has ended but is not yet compacted away must not run past the buffer.
        self._positions = (self._positions + 1).clamp_(max=self._context - 1)
        self._used = min(self._used + 1, self._context - 1)
        return self._model.head(hidden[:, 0])

    def keep(self, slots: Tensor) -> None:
        """Compact the batch to these slots, int64 [rows kept]."""
        self._positions = self._positions[slots]
        self._used = int(self._positions.max())
        self._rebuild(slots, self._buffer_length(self._used + 1))

    def _prefill_rows(self, start: int, stop: int) -> Tensor:
        prompts = self._prompts[start:stop]
        longest = max(len(prompt) for prompt in prompts)
        padded = [[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts]
        tokens = torch.tensor(padded, device=self._device)
        positions = torch.arange(longest, device=self._device).expand(len(prompts), longest)
        cache = KVCache(
            [keys[start:stop, :, :longest] for keys in self._cache.keys],
            [values[start:stop, :, :longest] for values in self._cache.values],
        )
        mask = causal_cache_mask(positions, longest)
        hidden = self._model(tokens, positions, mask=mask, cache=cache)
        last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=self._device)
        return self._model.head(hidden[torch.arange(len(prompts), device=self._device), last])

    def _rebuild(self, slots: Tensor | None, length: int) -> None:
        """Move the cache to new buffers with other rows or another length."""
        rows = len(self._positions)
        new = self._allocate(rows, length)
        kept = min(length, self._length)
        pairs = zip([*self._cache.keys, *self._cache.values], [*new.keys, *new.values], strict=True)
        for source, target in pairs:
            part = source[:, :, :kept]
            target[:, :, :kept] = part if slots is None else part[slots]
        self._cache, self._length = new, length

    def _allocate(self, rows: int, length: int) -> KVCache:
        weight = next(self._model.parameters())
        return KVCache.allocate(self._model.config, rows, length, weight.dtype, self._device)

    def _buffer_length(self, needed: int) -> int:
        return min(_round_up(needed, _GROWTH), self._context)


class Sampler:
    """Rolls the die for a batch: each row has its own numbers and its own record of seen tokens."""

    def __init__(
        self,
        settings: SamplingSettings,
        prompts: Sequence[Sequence[int]],
        streams: Sequence[int],
        most_tokens: int,
        vocabulary: int,
        device: torch.device,
    ):
        self._settings = settings
        self._step = 0
        self._uniforms: Tensor | None = None
        if settings.temperature > 0:
            numbers = [
                torch.from_numpy(uniform_numbers(settings.seed, stream, most_tokens)) for stream in streams
            ]
            self._uniforms = torch.stack(numbers).to(device)
        self._seen: Tensor | None = None
        if settings.repetition_penalty != 1:
            self._seen = torch.zeros(len(prompts), vocabulary, dtype=torch.bool, device=device)
            for row, prompt in enumerate(prompts):
                self._seen[row, torch.tensor(prompt, device=device)] = True

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Choose the next token of every row.

        Args:
            logits: [B, V].

        Returns:
            Tokens, int64 [B], and the probabilities [B, V] that they were rolled with (None when greedy).
        """
        if self._seen is not None:
            logits = penalize_repetition(logits, self._seen, self._settings.repetition_penalty)
        probabilities = None
        if self._uniforms is None:
            tokens = logits.argmax(dim=-1)
        else:
            probabilities = adjusted_probabilities(logits, self._settings)
            tokens = roll(probabilities, self._uniforms[:, self._step])
        self._step += 1
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        return tokens, probabilities

    def keep(self, slots: Tensor) -> None:
        """Compact to these slots, int64 [rows kept]."""
        if self._uniforms is not None:
            self._uniforms = self._uniforms[slots]
        if self._seen is not None:
            self._seen = self._seen[slots]


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
