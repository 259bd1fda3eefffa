"""Keys and values of prompts that came before, so that what prompts have in common is computed once."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jielong.models import KVCache

BLOCK = 32
"""Prefixes are kept and found in whole blocks of this many tokens."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A beginning and its keys and values: a cache of one row."""

    tokens: tuple[int, ...]
    cache: KVCache

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.nbytes for part in [*self.cache.keys, *self.cache.values])


class PrefixCache:
    """The prefixes used last, up to a number of bytes.

    A prefix is known under the hash of each of its beginnings of whole blocks, the hash of one block built on
    that of the blocks before it, so that looking up costs one step a block.

    Args:
        most_bytes: how much to keep; 0 keeps nothing.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._prefixes: OrderedDict[int, Prefix] = OrderedDict()  # by the hash of all blocks, oldest first
        self._known: dict[int, int] = {}  # hash of a beginning -> key of a prefix that has it

    @property
    def bytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def find(self, tokens: Sequence[int]) -> tuple[int, KVCache | None]:
        """The longest kept beginning of these tokens that leaves one of them to compute.

        Returns:
            Its length, 0 for none, and a cache whose row 0 begins with it.
        """
        length, found = 0, None
        for end, key in _beginnings(tokens):
            owner = self._known.get(key)
            if owner is None or end >= len(tokens):
                break
            if self._prefixes[owner].tokens[:end] != tuple(tokens[:end]):
                break  # another beginning of the same hash
            length, found = end, owner
        if found is None:
            return 0, None
        self._prefixes.move_to_end(found)
        return length, self._prefixes[found].cache

    def keep(self, tokens: Sequence[int], cache: KVCache, row: int) -> None:
        """Keep the whole blocks of these tokens, whose keys and values stand in a row of a cache."""
        beginnings = list(_beginnings(tokens))
        if not beginnings or beginnings[-1][1] in self._known:
            return
        length, key = beginnings[-1]
        token_bytes = sum(part[0, :, 0].nbytes for part in [*cache.keys, *cache.values])
        if length * token_bytes > self._most_bytes:
            return
        self._prefixes[key] = Prefix(tuple(tokens[:length]), cache.row(row, length))
        self._bytes += self._prefixes[key].size
        self._known.update((beginning, key) for _, beginning in beginnings)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._prefixes)))

    def _forget(self, key: int) -> None:
        prefix = self._prefixes.pop(key)
        self._bytes -= prefix.size
        for _, beginning in _beginnings(prefix.tokens):
            if self._known.get(beginning) == key:
                del self._known[beginning]


def _beginnings(tokens: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Length and hash of each beginning of whole blocks."""
    key = 0
    for end in range(BLOCK, len(tokens) + 1, BLOCK):
        key = hash((key, *tokens[end - BLOCK : end]))
        yield end, key
