"""From a model folder to an engine: the kind of weights, and what is compiled."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch

from jielong.core.errors import JielongError, UsageError
from jielong.generation.engine import Engine
from jielong.generation.settings import SamplingSettings, end_token_ids
from jielong.generation.speculative import Drafter, ModelDrafter, PromptLookup
from jielong.models import Transformer, choose_weights, load_model, prepare_for_inference
from jielong.models.precision import has_fast_bfloat16
from jielong.tokenizer import Tokenizer

# The compiler joins what it is given: plain matrices, not the layers of `prepare_for_inference`.
_COMPILED_WEIGHTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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
        compiled_rows: numbers of rows for which `Engine.compile` compiles the step; then the weights are
            float32, bfloat16, or `auto`: bfloat16 where the processor multiplies it.
        drafting: who guesses ahead: `lookup` (`PromptLookup`), or the folder of a smaller model with the same
            tokens (`ModelDrafter`), which gets the same kind of weights and is compiled too.

    Raises:
        JielongError: if a folder is not a model folder that can be read, or the smaller model's tokens are
            others.
        UsageError: if the weights are not known, or cannot be compiled.
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
    if not compiled:
        return prepare_for_inference(model, choose_weights(model) if weights == "auto" else weights)
    fast = "bfloat16" if has_fast_bfloat16(model.embed.weight.device) else "float32"
    chosen = fast if weights == "auto" else weights
    if chosen not in _COMPILED_WEIGHTS:
        raise UsageError(f"{chosen} weights cannot be compiled; use float32 or bfloat16, or do not compile")
    return model.to(_COMPILED_WEIGHTS[chosen]).eval()


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
