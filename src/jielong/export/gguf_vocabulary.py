"""A tokenizer as GGUF metadata: tokens and their kinds, merges, special ids, and how text is cut first."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jielong.core.errors import JielongError
from jielong.export.pretokenizers import is_found_first, pretokenizer_name
from jielong.generation.settings import end_token_ids
from jielong.tokenizer import Tokenizer
from jielong.tokenizer.byte_level import bytes_of_token
from jielong.tokenizer.folder import read_tokenizer_files

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
"""gguf.TokenType. Control tokens are written by templates alone and never shown; user-defined ones are found
in any text, before it is cut, and shown."""
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
_GENERATION_TAG = re.compile(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}")


def vocabulary_metadata(folder: Path, tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """The vocabulary of a model folder as GGUF keys.

    Args:
        folder: of the model.
        tokenizer: opened from it.
        rows: of the embedding; rows that no token has get a name that text never becomes.

    Raises:
        JielongError: llama.cpp cannot cut text as this tokenizer does.
    """
    tree = json.loads(read_tokenizer_files(folder).backend_json)
    where = str(folder / "tokenizer.json")
    if tree["model"].get("type") != "BPE":
        kind = tree["model"].get("type")
        raise JielongError(f"{where}: a {kind} vocabulary cannot be written as GGUF, only BPE can")
    bytes_fall_back = bool(tree["model"].get("byte_fallback"))
    keys = _sentencepiece(tree, rows) if bytes_fall_back else _byte_level(tree, where)
    tokens, kinds = _tokens(tree, rows, bytes_fall_back)
    keys |= {"tokens": tokens, "token_type": kinds}
    keys |= {f"{key}_token_id": token for key, token in _special_ids(folder, tokenizer).items()}
    keys |= {"add_bos_token": begins_with_bos(tokenizer), "add_eos_token": False}
    values = {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    if tokenizer.chat_template is not None:
        values["tokenizer.chat_template"] = without_generation_marks(tokenizer.chat_template)
    return values


def without_generation_marks(template: str) -> str:
    """The template without `{% generation %}`, which only programs that train understand."""
    return _GENERATION_TAG.sub(
        lambda tag: f"{{%{tag[1]} {'endif' if tag[2] else 'if true'} {tag[3]}%}}", template
    )


def begins_with_bos(tokenizer: Tokenizer) -> bool:
    """Whether what a model of this tokenizer reads begins with its BOS token.

    A chat does where the template writes it. A model without a template only continues texts, and `complete`
    begins those with BOS.
    """
    if tokenizer.chat_template is None:
        return True
    return tokenizer.encode_chat([{"role": "user", "content": "?"}])[0] == tokenizer.bos_id


def _byte_level(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    """GPT-2's kind of vocabulary: merges of bytes, each byte written as a visible character."""
    normalizer = tree.get("normalizer")
    if normalizer and normalizer.get("type") != "NFC":  # Qwen's; what people type is NFC already
        raise JielongError(f"{where}: llama.cpp has no normalizer {normalizer.get('type')}")
    name = pretokenizer_name(tree.get("pre_tokenizer"), where)
    merges = [(left, right) for left, right in _merges(tree) if not is_found_first(_plain(left + right))]
    return {"model": "gpt2", "pre": name, "merges": [f"{left} {right}" for left, right in merges]}


def _sentencepiece(tree: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Llama 2's kind: whole characters, rarer ones as bytes; the merge learned first has the best score."""
    scores = [0.0] * rows
    vocabulary = tree["model"]["vocab"]
    for rank, (left, right) in reversed(list(enumerate(_merges(tree)))):
        scores[vocabulary[left + right]] = -float(rank + 1)
    text = json.dumps([tree.get("normalizer"), tree.get("pre_tokenizer")])
    prefixed = '"Prepend"' in text or '"prepend_scheme": "first"' in text or '"always"' in text
    return {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": prefixed}


def _plain(token: str) -> str:
    """The text of a token whose bytes are written as visible characters."""
    return bytes_of_token(token).decode("utf-8", "replace")


def _merges(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs, which older files write as one text with a space."""
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in tree["model"]["merges"])
    return [(left, right) for left, right in pairs]


def _tokens(tree: Mapping[str, Any], rows: int, bytes_fall_back: bool) -> tuple[list[str], list[int]]:
    """Text and kind of every row of the embedding."""
    tokens = [f"[PAD{row}]" for row in range(rows)]
    kinds = [_UNUSED] * rows
    for token, number in tree["model"]["vocab"].items():
        tokens[number], kinds[number] = token, _NORMAL
        if bytes_fall_back and _BYTE_TOKEN.fullmatch(token):
            kinds[number] = _BYTE
        elif bytes_fall_back and token == tree["model"].get("unk_token"):
            kinds[number] = _UNKNOWN
        elif not bytes_fall_back and is_found_first(_plain(token)):
            tokens[number], kinds[number] = _plain(token), _USER_DEFINED
    for added in tree.get("added_tokens") or []:
        tokens[added["id"]] = added["content"]
        if kinds[added["id"]] != _UNKNOWN:
            kinds[added["id"]] = _CONTROL if added["special"] else _USER_DEFINED
    return tokens, kinds


def _special_ids(folder: Path, tokenizer: Tokenizer) -> dict[str, int]:
    """llama.cpp ends an answer at EOS and at EOT (end of turn); the latter is another end token, if any."""
    ids = {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "padding": tokenizer.pad_id}
    others = sorted(end_token_ids(folder) - {tokenizer.eos_id})
    return ids | ({"eot": others[0]} if others else {})
