"""How llguidance sees one of our tokenizers: the bytes of each token, and which tokens no text can become."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from jielong.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer

# Bytes of a forced passage that are looked at for its first token; looking at all of a long one again for
# each of its tokens would take time with the square of its length.
_LONGEST_FORCED = 512


def grammar_tokens(tokenizer: Tokenizer, end_ids: Collection[int]) -> "LLTokenizer":
    """The vocabulary as llguidance's trie of bytes, made once for a tokenizer and its end tokens.

    Args:
        tokenizer: whose tokens the grammar allows; the trie is kept in its `derived`.
        end_ids: tokens that end an answer, as the engine has them.
    """
    from llguidance import LLTokenizer, TokenizerWrapper

    ends = frozenset(token for token in end_ids if token < tokenizer.vocab_size)
    key = ("grammar_tokens", ends)
    if key not in tokenizer.derived:
        wrapper = TokenizerWrapper(_Spelling(tokenizer, ends))
        tokenizer.derived[key] = LLTokenizer(wrapper, eos_token=sorted(ends))
    tokens: LLTokenizer = tokenizer.derived[key]
    return tokens


class _Spelling:
    """The attributes and the call that llguidance's TokenizerWrapper asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, end_ids: frozenset[int]):
        self._encode = tokenizer.encode
        self.tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
        self.eos_token_id = min(end_ids)
        # An end token that is ordinary text is none here: it must not slip into the middle of an answer.
        self._special = end_ids | set(tokenizer.special_tokens.values())
        self.special_token_ids = sorted(self._special)
        self._ordinary = {
            data: token for token, data in enumerate(self.tokens) if data and token not in self._special
        }
        self._longest = max(map(len, self._ordinary), default=0)

    def __call__(self, data: bytes) -> list[int]:
        """The tokens of bytes that the grammar leaves no choice about: the tokenizer's own where they fit.

        A tokenizer may add a space in front or rewrite characters; then the longest matches spell the bytes.
        """
        text = data[:_LONGEST_FORCED].decode(errors="ignore")
        ids, data = self._encode(text), text.encode()
        if self._special.isdisjoint(ids) and b"".join(self.tokens[token] for token in ids) == data:
            return ids
        ids = []
        while data:
            for length in range(min(self._longest, len(data)), 0, -1):
                if data[:length] in self._ordinary:
                    ids.append(self._ordinary[data[:length]])
                    data = data[length:]
                    break
            else:
                break
        return ids
