"""The die of each token, drawn: candidates, probabilities as bars, and which side came up."""

import math
import unicodedata
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from jielong.cli.chat_texts import ChatTexts
from jielong.generation import Step
from jielong.tokenizer import Tokenizer

_BAR_CELLS = 20
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOST_CANDIDATES = 5
_UNLIKELY = 0.001


def die_table(steps: Sequence[Step], first: int, tokenizer: Tokenizer, texts: ChatTexts) -> Table:
    """Draw one section per step, numbered from `first`.

    The chosen token is marked with ▶ as well as in colour. Of two percentages the first is the model's own,
    which the bar shows, and the second is what was rolled with after temperature and filters.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(texts.dice_side, no_wrap=True, max_width=24)
    table.add_column(texts.dice_model, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=_BAR_CELLS)
    table.add_column(texts.dice_rolled, justify="right", no_wrap=True)
    for number, step in enumerate(steps, first):
        for line, (token, own, rolled) in enumerate(_candidates(step)):
            chosen = token == step.token
            table.add_row(
                str(number) if line == 0 else "",
                "▶" if chosen else "",
                Text(readable_token(tokenizer, token)),
                _percent(own),
                Text(bar(own), style="cyan" if chosen else "dim"),
                _percent(rolled),
                style="bold" if chosen else "",
            )
        table.add_section()
    return table


def bar(probability: float) -> str:
    """A bar of up to 20 cells in steps of an eighth; anything above zero shows at least the thinnest."""
    eighths = round(probability * _BAR_CELLS * 8)
    if probability > 0:
        eighths = max(1, eighths)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def readable_token(tokenizer: Tokenizer, token: int) -> str:
    """A token as a person can read it: blanks shown, bytes that are no character in hexadecimal."""
    data = tokenizer.token_bytes(token)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"⟨{data.hex(' ').upper()}⟩"
    shown = text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
    return "".join(char if _visible(char) else f"⟨U+{ord(char):04X}⟩" for char in shown) or "⟨⟩"


def _visible(char: str) -> bool:
    """Control characters move the cursor, and format and combining characters cannot stand alone."""
    return unicodedata.category(char)[0] not in "CMZ" or char == "\u3000"


def _candidates(step: Step) -> list[tuple[int, float, float]]:
    """The likeliest tokens with both probabilities; the chosen one is always among them."""
    pairs = zip(step.top, step.top_rolled, strict=True)
    all_candidates = [(token, own, rolled) for (token, own), (_, rolled) in pairs]
    shown = [
        candidate
        for place, candidate in enumerate(all_candidates[:_MOST_CANDIDATES])
        if place == 0 or candidate[1] >= _UNLIKELY
    ]
    if all(token != step.token for token, _, _ in shown):
        shown.append((step.token, math.exp(step.logprob or 0.0), step.probability or 0.0))
    return shown


def _percent(probability: float) -> str:
    return f"{probability:.1%}" if probability >= _UNLIKELY or probability == 0 else f"<{_UNLIKELY:.1%}"
