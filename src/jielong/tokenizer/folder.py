"""The tokenizer's part of a model folder, as Hugging Face lays it out: reading it with clear errors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from jielong.core.errors import JielongError
from jielong.core.files import read_json

TOKENIZER, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What a folder says about its tokenizer."""

    backend_json: str
    config: dict[str, Any]
    """tokenizer_config.json without its chat template, with `eos_token` etc. as plain texts."""
    template: str | None


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read a model folder's tokenizer: ours, or another's (tokenizer.json, or vocab.json + merges.txt).

    Raises:
        JielongError: a file is missing or broken, or no end-of-sequence token is named anywhere.
    """
    if not folder.is_dir():
        raise JielongError(f"{folder} is not a model folder: it does not exist")
    config = _read_object(folder / CONFIG)
    named = _special_tokens(folder, config)
    backend_json = _read_backend(folder, named)
    template = _read_template(folder, config)
    config = {key: value for key, value in config.items() if key != "chat_template"} | named
    if "eos_token" not in config:
        config["eos_token"] = _eos_by_id(folder, backend_json)
    return TokenizerFiles(backend_json, config, template)


def parse_backend(backend_json: str, where: str) -> Tokenizer:
    """Build the `tokenizers` object from its JSON text."""
    try:
        return Tokenizer.from_str(backend_json)
    except Exception as error:  # tokenizers raises bare Exception
        raise JielongError(f"{where} is not a tokenizer that `tokenizers` can read: {error}") from None


def _read_object(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise JielongError(f"{path} must hold a JSON object, not a {type(value).__name__}")
    return value


def _special_tokens(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Texts of bos_token, eos_token, ...: from tokenizer_config.json, else special_tokens_map.json."""
    fallback = _read_object(folder / "special_tokens_map.json")
    named = {}
    for key in ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"):
        value = config.get(key)
        if value is None:
            value = fallback.get(key)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            named[key] = value
    return named


def _read_backend(folder: Path, named: dict[str, Any]) -> str:
    path = folder / TOKENIZER
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _backend_from_gpt2_files(folder, named)
    except (OSError, UnicodeDecodeError) as error:
        raise JielongError(f"cannot read {path}: {error}") from None
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise JielongError(f"{path} is not valid JSON: {error}") from None
    return text


def _backend_from_gpt2_files(folder: Path, named: dict[str, Any]) -> str:
    """Older GPT-2 and OPT checkpoints have vocab.json and merges.txt only."""
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.exists() and merges.exists()):
        raise JielongError(
            f"{folder} has no tokenizer.json; it is not a model folder, or its copy is incomplete"
        )
    try:
        tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # tokenizers raises bare Exception
        raise JielongError(
            f"{vocabulary} and merges.txt beside it are not a BPE vocabulary: {error}"
        ) from None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    known = [token for token in dict.fromkeys(named.values()) if tokenizer.token_to_id(token) is not None]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in known])
    return tokenizer.to_str()


def _read_template(folder: Path, config: dict[str, Any]) -> str | None:
    """chat_template.jinja wins; in tokenizer_config.json it is a text or a list of named texts."""
    path = folder / TEMPLATE
    if path.exists():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise JielongError(f"cannot read {path}: {error}") from None
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
        template = named.get("default")
    if template is not None and not isinstance(template, str):
        raise JielongError(
            f"{folder / CONFIG}: chat_template must be a text, not a {type(template).__name__}"
        )
    return template


def _eos_by_id(folder: Path, backend_json: str) -> str:
    backend = parse_backend(backend_json, str(folder / TOKENIZER))
    for name in ("generation_config.json", "config.json"):
        ids = _read_object(folder / name).get("eos_token_id")
        first = ids[0] if isinstance(ids, list) and ids else ids
        if isinstance(first, int) and (token := backend.id_to_token(first)) is not None:
            return str(token)
    raise JielongError(
        f"{folder} does not say which token ends a text: none of tokenizer_config.json, "
        "special_tokens_map.json, generation_config.json and config.json names it; "
        'add "eos_token" to tokenizer_config.json'
    )
