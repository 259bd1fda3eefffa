"""From a model folder to an engine: the kind of weights, and what is compiled."""

from collections.abc import Collection
from pathlib import Path

import torch

from jielong.core.errors import UsageError
from jielong.generation.engine import Engine
from jielong.generation.settings import SamplingSettings, end_token_ids
from jielong.models import choose_weights, load_model, prepare_for_inference
from jielong.models.precision import has_fast_bfloat16
from jielong.tokenizer import Tokenizer

# The compiler joins what it is given: plain matrices, not the layers of `prepare_for_inference`.
_COMPILED_WEIGHTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_engine(folder: Path, weights: str = "float32", compiled_rows: Collection[int] = ()) -> Engine:
    """Load a model folder for generation, with the defaults and end tokens of its `generation_config.json`.

    Args:
        folder: the model.
        weights: float32, bfloat16, int8 or int4 (`prepare_for_inference`), or `auto`: what is fastest on this
            machine and costs next to nothing in quality (`choose_weights`).
        compiled_rows: numbers of rows for which `Engine.compile` compiles the step; then the weights are
            float32, bfloat16, or `auto`: bfloat16 where the processor multiplies it.

    Raises:
        JielongError: if the folder is not a model folder that can be read.
        UsageError: if the weights are not known, or cannot be compiled.
    """
    model = load_model(folder)
    if compiled_rows:
        fast = "bfloat16" if has_fast_bfloat16(model.embed.weight.device) else "float32"
        chosen = fast if weights == "auto" else weights
        if chosen not in _COMPILED_WEIGHTS:
            raise UsageError(
                f"{chosen} weights cannot be compiled; use float32 or bfloat16, or do not compile"
            )
        model = model.to(_COMPILED_WEIGHTS[chosen]).eval()
    else:
        prepare_for_inference(model, choose_weights(model) if weights == "auto" else weights)
    tokenizer = Tokenizer.load(folder)
    engine = Engine(
        model, tokenizer, end_ids=end_token_ids(folder), defaults=SamplingSettings.from_folder(folder)
    )
    if compiled_rows:
        engine.compile(compiled_rows)
    return engine
