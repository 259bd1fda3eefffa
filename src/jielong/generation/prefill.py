"""Prompts on their way through the network: similar ones together, long ones in parts."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jielong.generation.prefix_cache import PrefixCache
from jielong.generation.running import Generation
from jielong.models import CacheRows, KVCache, Transformer

# Prompt tokens, padding included, that one group of prompts has.
_GROUP_TOKENS = 4096
# Waiting prompts that are looked at to find ones that fit together.
_LOOKED_AT = 256


@dataclass(slots=True)
class WaitingPrompt:
    """A prompt and the answers that begin with it: it is computed once for all of them."""

    tokens: tuple[int, ...]
    generations: list[Generation] = field(default_factory=list)


class Prefill:
    """A group of prompts, computed column by column.

    Rows lie left-aligned in a cache of their own; what padding writes beyond a row's end is never attended
    to, because each of the row's new tokens overwrites its place before the mask opens it.

    Args:
        model: the network.
        group: prompts that all begin after the same number of known tokens.
        known: that number, and for each prompt a cache whose row 0 holds their keys and values.
        dtype: of keys and values.
    """

    def __init__(
        self,
        model: Transformer,
        group: list[WaitingPrompt],
        known: tuple[int, list[KVCache | None]],
        dtype: torch.dtype,
    ) -> None:
        self._model = model
        self.group = group
        self._device = next(model.parameters()).device
        self._lengths = [len(prompt.tokens) for prompt in group]
        self._longest = max(self._lengths)
        self._done, beginnings = known
        for generation in (one for prompt in group for one in prompt.generations):
            generation.cached_tokens = self._done
        self.cache = KVCache.allocate(model.config, len(group), self._longest, dtype, self._device)
        for row, beginning in enumerate(beginnings):
            if beginning is not None:
                self.cache.copy_row(row, beginning, 0, self._done)
        self._tokens = torch.tensor(
            [[*prompt.tokens, *[0] * (self._longest - len(prompt.tokens))] for prompt in group]
        ).to(self._device)
        self._last: list[Tensor | None] = [None] * len(group)

    def advance(self, tokens: int) -> Tensor | None:
        """Compute about this many more tokens, at least one a row.

        Returns:
            Logits [prompts, V] after each prompt's last token once all is computed, None before.
        """
        start = self._done
        end = min(self._longest, start + max(1, tokens // len(self.group)))
        positions = torch.arange(start, end, device=self._device).expand(len(self.group), end - start)
        rows = CacheRows(self.cache, 0, len(self.group), end)
        hidden = self._model(self._tokens[:, start:end], positions, cache=[rows])
        for row, length in enumerate(self._lengths):
            if start < length <= end:
                self._last[row] = hidden[row, length - 1 - start]
        self._done = end
        if end < self._longest:
            return None
        return self._model.head(torch.stack([last for last in self._last if last is not None]))


def next_group(
    waiting: list[WaitingPrompt], room: int, prefixes: PrefixCache
) -> tuple[list[WaitingPrompt], tuple[int, list[KVCache | None]]]:
    """Take prompts from the front of the queue that can be computed together.

    They begin after equally many known tokens and what is left of them is of similar length, so that little
    of the batch is padding. A prompt with more answers than there is room for stays, with the rest of them.

    Args:
        waiting: the queue; what is taken is removed. Not empty.
        room: answers that may begin, at least 1.
        prefixes: beginnings that are known.

    Returns:
        The group, and the number of its known tokens with the caches that hold them.
    """
    group: list[WaitingPrompt] = []
    beginnings: list[KVCache | None] = []
    known = longest = shortest = 0
    for prompt in list(waiting[:_LOOKED_AT]):
        found, beginning = prefixes.find(prompt.tokens)
        left = len(prompt.tokens) - found
        if group:
            longest_then, shortest_then = max(longest, left), min(shortest, left)
            if found != known or shortest_then + 128 < longest_then // 2:
                continue
            if longest_then * (len(group) + 1) > _GROUP_TOKENS:
                continue
            longest, shortest = longest_then, shortest_then
        else:
            known, longest, shortest = found, left, left
        group.append(_taken(waiting, prompt, room))
        beginnings.append(beginning)
        room -= len(group[-1].generations)
        if room == 0:
            break
    return group, (known, beginnings)


def _taken(waiting: list[WaitingPrompt], prompt: WaitingPrompt, room: int) -> WaitingPrompt:
    if len(prompt.generations) <= room:
        waiting.remove(prompt)
        return prompt
    taken = WaitingPrompt(prompt.tokens, prompt.generations[:room])
    prompt.generations = prompt.generations[room:]
    return taken


def queued(waiting: Iterable[WaitingPrompt]) -> int:
    """Answers that wait."""
    return sum(len(prompt.generations) for prompt in waiting)
