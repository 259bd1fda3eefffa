"""Token ids to text as they come, without ever showing half a character."""

import codecs

from jielong.tokenizer.tokenizer import Tokenizer


class StreamDecoder:
    """Decode tokens one by one; a Chinese character's bytes may be spread over three of them.

    The pieces joined, with `flush` at the end, equal `tokenizer.decode` of all the ids. Bytes that can no
    longer become a character turn into U+FFFD at once.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Take one token; return the characters that are now complete, often none."""
        if self._skip_special and self._tokenizer.is_special(token_id):
            return ""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def flush(self) -> str:
        """End the text: bytes still waiting become U+FFFD. The decoder can then be used again."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
