"""From a model folder to an engine: the kind of weights, and what is compiled."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch

from jielong.core.errors import JielongError
from jielong.generation.engine import Engine
from jielong.generation.settings import SamplingSettings, end_token_ids
from jielong.generation.speculative import Drafter, ModelDrafter, PromptLookup
from jielong.models import Transformer, choose_weights, load_model, prepare_for_inference
from jielong.models.precision import has_fast_bfloat16
from jielong.tokenizer import Tokenizer

# The compiler orders float matrices itself, so it is given plain ones.
_PLAIN_WEIGHTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_engine(
    folder: Path,
    weights: str = "float32",
    compiled_rows: Collection[int] = (),
    drafting: Path | Literal["lookup"] | None = None,
) -> Engine:
    """Load a model folder for generation, with the defaults and end tokens of its `generation_config.json`.

    Args:
        folder: the model.
        weights: float32, bfloat16, int8 or int4 (`prepare_for_inference`), or `auto`: what is fastest on this
            machine and costs next to nothing in quality (`choose_weights`).
        compiled_rows: numbers of rows for which `Engine.compile` compiles the step; then `auto` is bfloat16
            where the processor multiplies it, and else float32.
        drafting: who guesses ahead: `lookup` (`PromptLookup`), or the folder of a smaller model with the same
            tokens (`ModelDrafter`), which gets the same kind of weights and is compiled too.

    Raises:
        JielongError: if a folder is not a model folder that can be read, or the smaller model's tokens are
            others.
        UsageError: if the weights are not known.
    """
    model = _load(folder, weights, bool(compiled_rows))
    tokenizer = Tokenizer.load(folder)
    engine = Engine(
        model,
        tokenizer,
        end_ids=end_token_ids(folder),
        defaults=SamplingSettings.from_folder(folder),
        drafter=_drafter(drafting, tokenizer, weights, bool(compiled_rows)),
    )
    if compiled_rows:
        engine.compile(compiled_rows)
    return engine


def _load(folder: Path, weights: str, compiled: bool) -> Transformer:
    model = load_model(folder)
    if weights == "auto" and compiled:
        weights = "bfloat16" if has_fast_bfloat16(model.embed.weight.device) else "float32"
    elif weights == "auto":
        weights = choose_weights(model)
    if compiled and weights in _PLAIN_WEIGHTS:
        return model.to(_PLAIN_WEIGHTS[weights]).eval()
    return prepare_for_inference(model, weights)


def _drafter(
    drafting: Path | Literal["lookup"] | None, tokenizer: Tokenizer, weights: str, compiled: bool
) -> Drafter | None:
    if drafting is None:
        return None
    if not isinstance(drafting, Path):
        return PromptLookup()
    if _spelling(Tokenizer.load(drafting)) != _spelling(tokenizer):
        raise JielongError(
            f"{drafting} cannot draft: its tokens are not those of the model that it would draft for"
        )
    drafter = ModelDrafter(_load(drafting, weights, compiled), tokenizer.vocab_size)
    if compiled:
        drafter.compile()
    return drafter


def _spelling(tokenizer: Tokenizer) -> list[bytes]:
    return [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
