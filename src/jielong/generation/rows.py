"""The rows that decode together, and their key-value caches."""

from collections.abc import Iterator, Sequence

import torch

from jielong.generation.running import Generation
from jielong.models import CacheRows, KVCache, ModelConfig

# Slots of the smallest caches; the next ones are four times as long. Rows of similar length share a cache, so
# that one long conversation makes neither the others' buffers long nor their attention slow.
_SMALLEST = 128
_GROWTH = 4
# Attention reads up to the next multiple of this: kernels like round sizes, and shapes repeat.
_ATTENDED = 16
# Answers to one prompt that read its keys and values from one place, if there are so many and it is so long:
# each prompt that is shared is a part of its own in a pass.
FEWEST_SHARING = 5
_SHORTEST_SHARED = 64


class Rows:
    """Answers that get their next token in one pass, together by what they share and by their caches' length.

    Args:
        config: the network's.
        dtype: of keys and values.
        device: where they lie.
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        self._config, self._dtype, self._device = config, dtype, device
        self._pools: dict[tuple[int, int], _Pool] = {}  # by what is shared, and slots
        self.sizes: tuple[int, ...] = ()
        """Numbers of rows that caches should have, rising; beyond them, powers of two."""
        self.version = 0
        """Changes whenever the rows or their order do."""

    def __len__(self) -> int:
        return sum(len(pool.rows) for pool in self._pools.values())

    def __iter__(self) -> Iterator[Generation]:
        for pool in self._pools.values():
            yield from pool.rows

    def add(self, generations: Sequence[Generation], source: KVCache, source_row: int, length: int) -> None:
        """Take answers in, whose tokens but the newest, equally many, stand in a row of another cache."""
        shares = len(generations) >= FEWEST_SHARING and length >= _SHORTEST_SHARED
        if not shares or self._config.sliding_window is not None:
            for generation in generations:
                self._place(generation, (source, source_row, length))
            return
        shared = source.row(source_row, length)
        for generation in generations:
            self._place(generation, (shared, 0, 0), shared)

    def drop(self, ended: Iterator[Generation] | list[Generation]) -> None:
        """Let answers go; each one's place is free at once."""
        for generation in ended:
            for key, pool in list(self._pools.items()):
                if generation in pool.rows:
                    self._remove(key, pool.rows.index(generation))

    def clear(self) -> None:
        """Let all answers go, with their caches."""
        self._pools = {}
        self.version += 1

    def parts(self, ahead: int = 0) -> list[CacheRows]:
        """The caches as the next pass uses them; rows that have outgrown theirs get a longer one first.

        Args:
            ahead: tokens that the pass computes after each row's newest one.
        """
        for key, pool in list(self._pools.items()):
            for row in reversed(range(len(pool.rows))):
                slots = pool.slots(row)
                if slots + ahead >= pool.cache.length:
                    self._place(pool.rows[row], (pool.cache, row, slots), pool.shared, ahead)
                    self._remove(key, row)
        return [pool.part(ahead) for pool in self._pools.values()]

    def row_of(self, generation: Generation) -> tuple[KVCache, int]:
        """Where an answer's keys and values stand."""
        for pool in self._pools.values():
            if generation in pool.rows:
                row = pool.rows.index(generation)
                if pool.shared is None:
                    return pool.cache, row
                return pool.shared.followed_by(pool.cache.row(row, pool.slots(row))), 0
        raise KeyError("this answer is not decoding")

    def _place(
        self,
        generation: Generation,
        own: tuple[KVCache, int, int],
        shared: KVCache | None = None,
        ahead: int = 0,
    ) -> None:
        """Give an answer a row with a slot for its newest token, and so many ahead.

        Args:
            generation: the answer.
            own: where the keys and values of its other tokens stand: a cache, a row and how many.
            shared: what stands before them.
            ahead: further slots.
        """
        capacity = self._capacity(own[2] + 1 + ahead)
        fewest = 1 if shared is None else FEWEST_SHARING
        pool = self._pools.get((id(shared), capacity))
        if pool is None:
            cache = KVCache.allocate(self._config, self._size(fewest), capacity, self._dtype, self._device)
            pool = self._pools[id(shared), capacity] = _Pool(cache, shared)
        if len(pool.rows) == pool.cache.batch:
            pool.widen(self._config, self._size(len(pool.rows) + 1))
        pool.append(generation, *own)
        self.version += 1

    def _remove(self, key: tuple[int, int], row: int) -> None:
        pool = self._pools[key]
        pool.remove(row)
        if not pool.rows:
            del self._pools[key]
        self.version += 1

    def _size(self, needed: int) -> int:
        return next((size for size in self.sizes if size >= needed), 1 << (needed - 1).bit_length())

    def _capacity(self, needed: int) -> int:
        capacity = _SMALLEST
        while capacity < needed:
            capacity *= _GROWTH
        return min(capacity, self._config.max_position_embeddings)


class _Pool:
    """Rows whose caches have one length. The i-th answer's keys and values stand in row i.

    Args:
        cache: for as many rows as there may be before it is widened.
        shared: what stands before every row.
    """

    def __init__(self, cache: KVCache, shared: KVCache | None) -> None:
        self.rows: list[Generation] = []
        self.cache, self.shared = cache, shared
        self._before = 0 if shared is None else shared.length

    def slots(self, row: int) -> int:
        """Slots of a row that are filled: those of all tokens but the newest and the shared ones."""
        return self.rows[row].position - self._before

    def widen(self, config: ModelConfig, size: int) -> None:
        keys, count = self.cache.keys[0], len(self.rows)
        wider = KVCache.allocate(config, size, self.cache.length, keys.dtype, keys.device)
        for old, new in zip(self.cache.both, wider.both, strict=True):
            for one, other in zip(old, new, strict=True):
                other[:count] = one[:count]
        self.cache = wider

    def append(self, generation: Generation, source: KVCache, source_row: int, slots: int) -> None:
        self.cache.copy_row(len(self.rows), source, source_row, slots)
        self.rows.append(generation)

    def remove(self, row: int) -> None:
        """The last row takes the place that gets free."""
        slots = self.slots(-1)
        last = self.rows.pop()
        if row < len(self.rows):
            self.cache.copy_row(row, self.cache, len(self.rows), slots)
            self.rows[row] = last

    def part(self, ahead: int) -> CacheRows:
        needed = [self.slots(row) + 1 + ahead for row in range(len(self.rows))]
        longest = max(needed)
        aligned = not ahead and min(needed) == longest
        attended = longest if aligned else min(-(-longest // _ATTENDED) * _ATTENDED, self.cache.length)
        return CacheRows(self.cache, 0, len(needed), attended, aligned, self.shared)
