"""Plain continuation of a text, as a base model does it."""

from collections.abc import Iterator

from jielong.generation.engine import Engine
from jielong.generation.request import Grammar, Step
from jielong.generation.settings import SamplingSettings


def complete(
    engine: Engine, text: str, settings: SamplingSettings | None = None, grammar: Grammar | None = None
) -> Iterator[Step]:
    """Continue a text, token by token, without any chat frame.

    The text begins as a document began in pretraining: after the tokenizer's begin token.

    Raises:
        JielongError: if the text leaves no room in the context.
    """
    tokenizer = engine.tokenizer
    return engine.stream([tokenizer.bos_id, *tokenizer.encode(text)], settings, grammar=grammar)
