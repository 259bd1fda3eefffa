r"""Where a token may never reach across: the regular expression that cuts text before byte-pair merges.

It follows the expression of GPT-4's `cl100k_base` for English and code, with these differences (figures in
docs/benchmarks.md, made by benchmarks/tokenizer.py):

- digits stand alone, so that a number is always written with the same ten tokens and column arithmetic is
  learnable (arXiv:2305.14201 finds the same for LLaMA's digit splitting);
- a run of Han characters is a piece of its own: words of several characters can merge (台灣, 電腦), but never
  with Latin letters, kana, digits or punctuation;
- full-width punctuation is cut from Han text on both sides, so 「，但」 never becomes one token that hides a
  word;
- only a space may be glued to the front of a Latin word, not any punctuation mark as in GPT-4.
"""

_CJK_LETTERS = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
_WORD_LETTERS = rf"[\p{{L}}\p{{M}}&&[^{_CJK_LETTERS}]]"

PATTERN = "|".join(
    [
        r"'(?i:[sdmt]|ll|ve|re)(?!\p{L})",  # English contractions
        rf" ?{_WORD_LETTERS}+",  # a word of an alphabet, with the space before it
        r"\p{Han}+",
        r"[\p{Hiragana}\p{Katakana}ー]+",
        r"\p{N}",  # one digit
        r" ?[!-/:-@\[-`{-~]+[\r\n]*",  # ASCII punctuation; code often ends a line with it
        r"[^\s\p{L}\p{M}\p{N}\x00-\x7F]+[\r\n]*",  # full-width punctuation, symbols, emoji
        r"\u3000+",  # the indentation of a Chinese paragraph
        r"\s*[\r\n]+",
        r"\s+(?!\S)",  # indentation of code, all but the space that belongs to the word
        r"\s+",
    ]
)
"""For Oniguruma, the engine of `tokenizers`; character-class intersection (`&&`) is its syntax."""

LONGEST_TOKEN = 18
"""Bytes: six Han characters. Stops merging from making one token of a whole clause that a corpus repeats;
at 4,096 tokens it costs nothing (3.00 bytes a token of Chinese with and without it)."""
