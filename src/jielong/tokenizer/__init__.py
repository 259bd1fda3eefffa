"""Bytes <-> tokens: byte-level BPE for Chinese, English, code and digits, and chat templates."""

from jielong.tokenizer.chat_template import ChatTemplate, Rendered
from jielong.tokenizer.display import bytes_per_token, language_of, show
from jielong.tokenizer.special_tokens import SPECIAL_TOKENS
from jielong.tokenizer.streaming import StreamDecoder
from jielong.tokenizer.tokenizer import Tokenizer
from jielong.tokenizer.training import (
    ENOUGH_CHARACTERS,
    SMALLEST_VOCABULARY,
    read_chat_template,
    train_tokenizer,
)

__all__ = [
    "ENOUGH_CHARACTERS",
    "SMALLEST_VOCABULARY",
    "SPECIAL_TOKENS",
    "ChatTemplate",
    "Rendered",
    "StreamDecoder",
    "Tokenizer",
    "bytes_per_token",
    "language_of",
    "read_chat_template",
    "show",
    "train_tokenizer",
]
