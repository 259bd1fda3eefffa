"""Byte-pair encoding whose tokens never end in the middle of a character.

Plain byte-level BPE merges whatever bytes are often neighbours. Nearly all Chinese characters begin with
one of six bytes, so it makes tokens such as 台灣 + the first byte of the next character, which then lacks
that byte: one word gets many spellings, and half-characters take up the vocabulary. Here every token is
either whole characters or a part of one character. It is still byte-level BPE in the file format, with all
256 bytes, so any text has tokens:

1. ordinary BPE is trained on characters;
2. the `kept` most frequent characters are built out of their bytes by the first merges; rarer ones
   stay bytes;
3. the merges of step 1 follow, as far as they need only kept characters.

How many characters to keep is what packs a sample of the corpus best.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from jielong.tokenizer.byte_level import alphabet, characters_of_bytes

_SAMPLE = 250_000
"""Characters of the corpus on which the number of kept characters is chosen."""

_FIBONACCI = (34, 21, 13, 8, 5, 3, 2, 1)

Merge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is the same whatever the number of kept characters is."""

    vocab_size: int
    longest: int
    pattern: str
    special: tuple[tuple[str, bool], ...]
    characters: list[str]  # outside ASCII, the most frequent first
    merges: list[Merge]  # of characters, in the order they were learned


def train_character_bpe(
    texts: Sequence[str], vocab_size: int, pattern: str, special: Sequence[tuple[str, bool]], longest: int
) -> Backend:
    """Train on a corpus that fits into memory.

    Args:
        texts: the corpus.
        vocab_size: tokens in all: special ones, bytes, characters and merges.
        pattern: regular expression of the pieces that merges stay within.
        special: (text, whether decoding can leave it out) of the special tokens, which get the ids from 0 on.
        longest: bytes of the longest token allowed.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    characters = [char for char in counts if char > "\x7f" and counts[char] > 1]
    characters.sort(key=lambda char: (-counts[char], char))
    merges = _train_on_characters(texts, vocab_size + len(counts), pattern, longest)
    plan = _Plan(vocab_size, longest, pattern, tuple(special), characters, merges)
    return _assemble(plan, _best_number_kept(plan, _sample(texts)))


def _train_on_characters(texts: Sequence[str], size: int, pattern: str, longest: int) -> list[Merge]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, max_token_length=longest, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return [(left, right) for left, right in _merges_of(backend)]


def _merges_of(backend: Backend) -> list[list[str]]:
    merges: list[list[str]] = json.loads(backend.to_str())["model"]["merges"]
    return merges


def _sample(texts: Sequence[str]) -> list[str]:
    step = max(1, sum(map(len, texts)) // _SAMPLE)
    return list(texts[::step])


def _best_number_kept(plan: _Plan, sample: list[str]) -> int:
    """Find the number of characters that gives the sample the fewest tokens, by Fibonacci search on a grid.

    Keeping more characters saves bytes and costs merges, so the token count falls and then rises.
    """
    limit = min(len(plan.characters), plan.vocab_size - 256 - len(plan.special))
    sizes: dict[int, int] = {}

    def size(point: int) -> int:
        if point not in sizes:
            backend = _assemble(plan, limit * point // _FIBONACCI[0])
            sizes[point] = sum(len(encoding.ids) for encoding in backend.encode_batch_fast(sample))
        return sizes[point]

    low = 0
    for right, left in pairwise(_FIBONACCI[1:]):
        if size(low + left) > size(low + right):
            low += left
    return limit * min((low, low + 1, low + 2), key=size) // _FIBONACCI[0]


def _assemble(plan: _Plan, kept: int) -> Backend:
    """Build the byte-level tokenizer that keeps the `kept` most frequent characters whole."""
    tokens = dict.fromkeys([text for text, _ in plan.special] + alphabet())
    merges: list[Merge] = []
    room = plan.vocab_size

    def add(left: str, right: str) -> None:
        if len(tokens) < room or left + right in tokens:
            tokens[left + right] = None
            merges.append((left, right))

    known = {chr(code) for code in range(128)}
    for character in plan.characters[:kept]:
        spelled = characters_of_bytes(character.encode())
        for end in range(1, len(spelled)):
            if spelled[: end + 1] not in tokens:
                add(spelled[:end], spelled[end])
        if spelled in tokens:
            known.add(character)
    for left, right in plan.merges:
        if len(tokens) >= room:
            break
        if left in known and right in known and len((left + right).encode()) <= plan.longest:
            known.add(left + right)
            add(characters_of_bytes(left.encode()), characters_of_bytes(right.encode()))
    backend = Backend(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(plan.pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    for text, hidden in plan.special:
        backend.add_tokens([AddedToken(text, special=hidden, normalized=False)])
    return backend
