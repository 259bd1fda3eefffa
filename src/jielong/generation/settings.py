"""How the die is rolled: the sampling settings and where their defaults come from."""

from pathlib import Path
from typing import Any

from pydantic import Field

from jielong.core.errors import JielongError
from jielong.core.files import read_json
from jielong.core.model_folder import model_file
from jielong.core.recipe import Settings

# generation_config.json's names for the settings that have the same meaning here.
_HUGGING_FACE_NAMES = {
    "max_new_tokens": "max_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
}


class SamplingSettings(Settings):
    """How the next token is chosen, and when an answer ends."""

    max_tokens: int = Field(default=256, ge=1)
    """Most tokens to generate for one prompt."""
    temperature: float = Field(default=0.7, ge=0, allow_inf_nan=False)
    """Divides the logits: below 1 likely tokens become likelier; 0 always takes the likeliest (greedy)."""
    top_k: int = Field(default=0, ge=0)
    """Roll only among the k likeliest tokens; 0 keeps all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Roll only among the fewest likeliest tokens whose probabilities add up to this (nucleus sampling)."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Roll only among tokens at least this many times as likely as the likeliest one."""
    repetition_penalty: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Above 1 makes tokens that the prompt or the answer already holds less likely; 1 changes nothing."""
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Taken from the logit of every token that the answer already holds; below 0 makes it repeat itself."""
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Taken from a token's logit once for each time that the answer already holds it."""
    logit_bias: dict[int, float] = Field(default_factory=dict)
    """Added to the logits of these token ids: -100 forbids a token, 100 all but forces it."""
    seed: int = Field(default=0, ge=0)
    """Seed of the rolls: the same seed, prompt and model give the same answer."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; the answer is cut before them."""

    @classmethod
    def from_folder(cls, folder: Path) -> "SamplingSettings":
        """Take the defaults that a model folder's `generation_config.json` states; without one, this class's.

        `do_sample: false` means greedy, as in transformers.

        Raises:
            JielongError: if the file is not valid JSON or holds a value out of range.
        """
        config = read_generation_config(folder)
        values = {
            ours: config[theirs]
            for theirs, ours in _HUGGING_FACE_NAMES.items()
            if config.get(theirs) is not None
        }
        if config.get("do_sample") is False:
            values["temperature"] = 0.0
        try:
            return cls.parse(values)
        except JielongError as error:
            raise JielongError(f"{folder / 'generation_config.json'}: {error}") from None


def read_generation_config(folder: Path) -> dict[str, Any]:
    """Read a model folder's `generation_config.json`; an empty mapping when there is none."""
    path = model_file(folder, "generation_config.json")
    if not path.exists():
        return {}
    config = read_json(path)
    if not isinstance(config, dict):
        raise JielongError(f"{path} must hold a JSON object, not a {type(config).__name__}")
    return config


def end_token_ids(folder: Path) -> set[int]:
    """Token ids that end a text according to `generation_config.json`'s `eos_token_id` (one id or a list)."""
    stated = read_generation_config(folder).get("eos_token_id")
    if stated is None:
        return set()
    ids = stated if isinstance(stated, list) else [stated]
    if not all(isinstance(token, int) for token in ids):
        raise JielongError(
            f"{folder / 'generation_config.json'}: eos_token_id must be a token id or a list of them"
        )
    return set(ids)
