"""The tokens that mean something to the program: document borders, turns, thinking, tools."""

END_OF_TEXT = "<|endoftext|>"
"""Starts a document (BOS) and fills a batch (padding)."""

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
"""Ends a turn and a document (EOS), so that a base model already knows how to stop."""

# Removed from decoded text on request, because nobody wants to read them.
_INVISIBLE = (END_OF_TEXT, TURN_START, TURN_END)
# Kept in decoded text, as in Qwen3: a tool-call parser has to see them.
_VISIBLE = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_RESERVED = tuple(f"<|reserved_{number}|>" for number in range(7))

SPECIAL_TOKENS: tuple[tuple[str, bool], ...] = (
    *((token, True) for token in _INVISIBLE),
    *((token, False) for token in _VISIBLE),
    *((token, True) for token in _RESERVED),
)
"""(text, is it hidden when special tokens are skipped), in the order of their ids from 0 on."""
