"""Show a person how a text falls into tokens, and how well each language is packed."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jielong.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = ("black on #ffd6a5", "black on #caffbf", "black on #9bf6ff", "black on #ffc6ff", "black on #fdffb6")
_HAN = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)
_LETTER = re.compile(r"[^\W\d_]")


def show(tokenizer: Tokenizer, text: str) -> "Text":
    """Colour the tokens of a text in turn; tokens that are parts of a character appear as bytes, <0xE5>."""
    from rich.text import Text

    shown = Text()
    for index, token_id in enumerate(tokenizer.encode(text)):
        shown.append(_visible(tokenizer.token_bytes(token_id)), style=_STYLES[index % len(_STYLES)])
    return shown


def language_of(text: str) -> str:
    """Guess a text's language by script: "zh" if at least a tenth of its letters are Han, otherwise "en"."""
    han = len(_HAN.findall(text))
    return "zh" if han > 0 and han * 10 >= len(_LETTER.findall(text)) else "en"


def bytes_per_token(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, float]:
    """UTF-8 bytes per token for each language among the texts; more is better packed.

    Returns:
        "zh" and/or "en", those that occur (see `language_of`).
    """
    sizes: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for text in texts:
        if text:
            language = language_of(text)
            sizes[language] = sizes.get(language, 0) + len(text.encode())
            tokens[language] = tokens.get(language, 0) + len(tokenizer.encode(text))
    return {language: sizes[language] / tokens[language] for language in sorted(sizes)}


def _visible(piece: bytes) -> str:
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in piece)
    # The line break itself is kept so that the text keeps its shape.
    return text.replace("\n", "⏎\n").replace("\t", "→\t").replace("\r", "␍")
