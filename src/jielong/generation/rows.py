"""The rows that decode together, and their key-value caches."""

from collections.abc import Iterator

import torch

from jielong.generation.running import Generation
from jielong.models import CacheRows, KVCache, ModelConfig

# Slots of the smallest caches; the next ones are four times as long. Rows of similar length share a cache, so
# that one long conversation makes neither the others' buffers long nor their attention slow.
_SMALLEST = 128
_GROWTH = 4
# Attention reads up to the next multiple of this: kernels like round sizes, and shapes repeat.
_ATTENDED = 16


class Rows:
    """Answers that get their next token in one pass, ordered by the length of their caches.

    Args:
        config: the network's.
        dtype: of keys and values.
        device: where they lie.
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        self._config, self._dtype, self._device = config, dtype, device
        self._pools: dict[int, _Pool] = {}
        self.sizes: tuple[int, ...] = ()
        """Numbers of rows that caches should have, rising; beyond them, powers of two."""
        self.version = 0
        """Changes whenever the rows or their order do."""

    def __len__(self) -> int:
        return sum(len(pool.rows) for pool in self._pools.values())

    def __iter__(self) -> Iterator[Generation]:
        for _, pool in sorted(self._pools.items()):
            yield from pool.rows

    def add(self, generation: Generation, source: KVCache, source_row: int) -> None:
        """Take an answer in, whose tokens but the newest stand in a row of another cache."""
        self._place(generation, source, source_row, generation.position)

    def drop(self, ended: Iterator[Generation] | list[Generation]) -> None:
        """Let answers go; each one's place is free at once."""
        for generation in ended:
            for capacity, pool in list(self._pools.items()):
                if generation in pool.rows:
                    self._remove(capacity, pool.rows.index(generation))

    def clear(self) -> None:
        """Let all answers go, with their caches."""
        self._pools = {}
        self.version += 1

    def parts(self, ahead: int = 0) -> list[CacheRows]:
        """The caches as the next pass uses them; rows that have outgrown theirs get a longer one first.

        Args:
            ahead: tokens that the pass computes after each row's newest one.
        """
        for capacity, pool in sorted(self._pools.items()):
            for row in reversed(range(len(pool.rows))):
                generation = pool.rows[row]
                if generation.position + ahead >= capacity:
                    self._place(generation, pool.cache, row, generation.position, ahead)
                    self._remove(capacity, row)
        return [pool.part(ahead) for _, pool in sorted(self._pools.items())]

    def row_of(self, generation: Generation) -> tuple[KVCache, int]:
        """Where an answer's keys and values stand."""
        for pool in self._pools.values():
            if generation in pool.rows:
                return pool.cache, pool.rows.index(generation)
        raise KeyError("this answer is not decoding")

    def _place(
        self, generation: Generation, source: KVCache, source_row: int, length: int, ahead: int = 0
    ) -> None:
        capacity = self._capacity(length + 1 + ahead)
        pool = self._pools.get(capacity)
        if pool is None:
            pool = _Pool(self._config, capacity, self._size(1), self._dtype, self._device)
            self._pools[capacity] = pool
        if len(pool.rows) == pool.cache.batch:
            pool.widen(self._size(len(pool.rows) + 1))
        pool.append(generation, source, source_row, length)
        self.version += 1

    def _remove(self, capacity: int, row: int) -> None:
        pool = self._pools[capacity]
        pool.remove(row)
        if not pool.rows:
            del self._pools[capacity]
        self.version += 1

    def _size(self, needed: int) -> int:
        return next((size for size in self.sizes if size >= needed), 1 << (needed - 1).bit_length())

    def _capacity(self, needed: int) -> int:
        capacity = _SMALLEST
        while capacity < needed:
            capacity *= _GROWTH
        return min(capacity, self._config.max_position_embeddings)


class _Pool:
    """Rows whose caches have one length. The i-th answer's keys and values stand in row i."""

    def __init__(
        self, config: ModelConfig, capacity: int, size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._config, self._capacity = config, capacity
        self.rows: list[Generation] = []
        self.cache = KVCache.allocate(config, size, capacity, dtype, device)

    def widen(self, size: int) -> None:
        keys, count = self.cache.keys[0], len(self.rows)
        wider = KVCache.allocate(self._config, size, self._capacity, keys.dtype, keys.device)
        for old, new in zip(self.cache.both, wider.both, strict=True):
            for one, other in zip(old, new, strict=True):
                other[:count] = one[:count]
        self.cache = wider

    def append(self, generation: Generation, source: KVCache, source_row: int, length: int) -> None:
        row = len(self.rows)
        self.cache.copy_row(row, source, source_row, length)
        self.rows.append(generation)

    def remove(self, row: int) -> None:
        """The last row takes the place that gets free."""
        last = self.rows.pop()
        if row < len(self.rows):
            self.cache.copy_row(row, self.cache, len(self.rows), last.position)
            self.rows[row] = last

    def part(self, ahead: int) -> CacheRows:
        positions = [generation.position + ahead for generation in self.rows]
        longest = max(positions) + 1
        if not ahead and min(positions) + 1 == longest:
            return CacheRows(self.cache, 0, len(positions), longest, aligned=True)
        attended = min(-(-longest // _ATTENDED) * _ATTENDED, self._capacity)
        return CacheRows(self.cache, 0, len(positions), attended)
