"""Train a byte-level BPE vocabulary on a corpus."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer as Backend

from jielong.core.errors import JielongError, UsageError
from jielong.tokenizer.character_bpe import train_character_bpe
from jielong.tokenizer.pretokenization import LONGEST_TOKEN, PATTERN
from jielong.tokenizer.special_tokens import END_OF_TEXT, SPECIAL_TOKENS, TURN_END
from jielong.tokenizer.tokenizer import Tokenizer

SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)
ENOUGH_CHARACTERS = 30_000_000
"""Of a larger corpus, a vocabulary is trained on a sample of this size."""
_PIECE = 1 << 16
_ROLES = ("system", "user", "assistant", "")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a tokenizer with Jielong's special tokens and chat template; the same texts give the same bytes.

    Args:
        texts: the corpus, any iterable; it is held in memory.
        vocab_size: tokens in all: special ones, 256 bytes and the merges. A small corpus may give fewer.

    Raises:
        UsageError: the size leaves no room for the 256 bytes.
        JielongError: there is no text.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise UsageError(
            f"vocab_size {vocab_size} is too small: bytes and special tokens take {SMALLEST_VOCABULARY}"
        )
    pieces = _pieces(texts)
    if not pieces:
        raise JielongError("cannot train a tokenizer: there is no text")
    # Every chat has these words, and pretraining text may have none: without copies "assistant" would be nine
    # tokens. One in 2,000 characters is often enough to be merged, and too rare to cost other words.
    pieces.append("\n".join(_ROLES) * max(2, sum(map(len, pieces)) // 2000))
    backend = train_character_bpe(pieces, vocab_size, PATTERN, SPECIAL_TOKENS, LONGEST_TOKEN)
    return Tokenizer(backend.to_str(pretty=True), _config(backend), read_chat_template())


def read_chat_template(name: Literal["chat", "plain_chat"] = "chat") -> str:
    """One of Jielong's own chat templates, with generation marks.

    Args:
        name: `chat` is ChatML with tools and thinking; `plain_chat` marks turns in plain words, for a model
            without tokens for them.
    """
    return Path(__file__).with_name(f"{name}_template.jinja").read_text(encoding="utf-8")


def _pieces(texts: Iterable[str]) -> list[str]:
    """Cut texts into pieces of bounded size: a whole book at once would leave the other cores idle."""
    return [text[start : start + _PIECE] for text in texts for start in range(0, len(text), _PIECE)]


def _config(backend: Backend) -> dict[str, Any]:
    added = {
        str(backend.token_to_id(text)): {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": hidden,
        }
        for text, hidden in SPECIAL_TOKENS
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "added_tokens_decoder": added,
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": False,
        # transformers' own number for "no limit"; the stage that makes a model writes the real one.
        "model_max_length": int(1e30),
    }
