"""Sentences from templates: slots that agree in article and capital, spacing between Chinese and Latin."""

import re
from collections.abc import Mapping, Sequence
from random import Random

from jielong.core.errors import JielongError

_SLOT = re.compile(r"\$([A-Za-z_]+)")
_CHINESE = "\u3400-\u9fff"
_BETWEEN = re.compile(rf"(?<=[{_CHINESE}])(?=[A-Za-z0-9+=])|(?<=[A-Za-z0-9+=%])(?=[{_CHINESE}])")
_SILENT_H = ("hour", "honest", "heir", "honour")
_SPOKEN_CONSONANT = ("uni", "use", "euro", "one", "ukulele")


def random_for(seed: int, purpose: str) -> Random:
    """One generator for one purpose, so that changing one part of the world leaves the others alone."""
    return Random(f"{seed}:{purpose}")


def with_article(noun: str) -> str:
    """Put "a" or "an" before an English noun phrase, by its sound."""
    word = noun.lower()
    vowel = word[0] in "aeiou" and not word.startswith(_SPOKEN_CONSONANT)
    return f"{'an' if vowel or word.startswith(_SILENT_H) else 'a'} {noun}"


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill a template's slots.

    `$name` is the value itself, `$Name` the value with a capital, `$a_name` the value with its article.

    Raises:
        JielongError: when the template names a slot that has no value.
    """

    def value(match: re.Match[str]) -> str:
        key = match.group(1)
        if key in values:
            return values[key]
        lower = key[0].lower() + key[1:]
        if lower.startswith("a_") and lower[2:] in values:
            text = with_article(values[lower[2:]])
        elif lower in values:
            text = values[lower]
        else:
            raise JielongError(
                f"world: template {template!r} has a slot ${key} without a value; known: {sorted(values)}"
            )
        return text if key == lower else capital(text)

    return _SLOT.sub(value, template)


def space(text: str) -> str:
    """Put one space between Chinese characters and Latin letters or digits."""
    return _BETWEEN.sub(" ", text)


def sentence(template: str, values: Mapping[str, str], language: str) -> str:
    """Fill a template and finish the sentence: spacing in Chinese, a capital in English."""
    text = fill(template, values)
    return space(text) if language == "zh" else capital(text)


def join(sentences: Sequence[str], language: str) -> str:
    """Join sentences into a paragraph: with a space in English, without one in Chinese."""
    return ("" if language == "zh" else " ").join(sentences)
