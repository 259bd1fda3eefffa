r"""llama.cpp's names of pre-tokenizers: how text is cut before merges.

A GGUF file names its pre-tokenizer, and llama.cpp holds the expression of that name (src/llama-vocab.cpp), so
only expressions that it knows can be written. Those of other models are looked up by their text.

Jielong's own expression has no name there. `qwen2` stands in for it: it cuts in fewer places, but where it
does not cut no merge of ours reaches across either (no token of ours holds Han and Latin letters, or a letter
and a bracket), so the tokens are the same. What is left:

- runs of ideographic spaces (the indentation 　　 of a paragraph) would be cut before their last one;
  `is_found_first` repairs that;
- 's, 't, 'll, ... are cut off although letters follow ('start' begins with a quotation mark);
- combining marks and 〇 are no letters for it.

The text is the same either way; only its spelling in tokens differs there (docs/export.md has figures).
"""

from collections.abc import Mapping
from typing import Any

from jielong.core.errors import JielongError
from jielong.tokenizer.pretokenization import PATTERN

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_AFTER_NUMBERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_NAMES: Mapping[tuple[str, ...], str] = {
    (PATTERN,): "qwen2",
    (_WORDS + r"\p{N}" + _AFTER_NUMBERS,): "qwen2",
    (_WORDS + r"\p{N}{1,3}" + _AFTER_NUMBERS,): "llama-bpe",
    (_GPT2,): "gpt-2",
    ("digits", _GPT2): "smollm",
}
"""By the steps of the pre-tokenizer, one after the other."""


def pretokenizer_name(tree: Any, where: str) -> str:
    """llama.cpp's name for the `pre_tokenizer` of a tokenizer.json; `where` names the file.

    Raises:
        JielongError: llama.cpp has no such pre-tokenizer.
    """
    steps = tuple(_steps(tree))
    if steps not in _NAMES:
        raise JielongError(
            f"{where}: llama.cpp has no pre-tokenizer that cuts text at {' then '.join(steps) or 'nothing'}"
        )
    return _NAMES[steps]


def _steps(tree: Any) -> list[str]:
    kind = tree.get("type") if isinstance(tree, Mapping) else None
    if kind == "Sequence":
        return [step for part in tree["pretokenizers"] for step in _steps(part)]
    if kind == "ByteLevel":
        return [_GPT2] if tree.get("use_regex", True) else []
    if kind == "Digits" and tree.get("individual_digits"):
        return ["digits"]
    if kind == "Split" and tree.get("behavior") == "Isolated" and not tree.get("invert"):
        return [str(tree["pattern"].get("Regex"))]
    return [str(kind)]


def is_found_first(text: str) -> bool:
    """Whether llama.cpp should look for this token before it cuts text: a run of ideographic spaces."""
    return len(text) > 1 and not text.strip("\u3000")
