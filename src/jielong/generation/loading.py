"""From a model folder to an engine: the kind of weights, and what is compiled."""

from collections.abc import Collection
from pathlib import Path

import torch

from jielong.generation.engine import Engine
from jielong.generation.settings import SamplingSettings, end_token_ids
from jielong.models import choose_weights, load_model, prepare_for_inference
from jielong.models.precision import has_fast_bfloat16
from jielong.tokenizer import Tokenizer

# The compiler orders float matrices itself, so it is given plain ones.
_PLAIN_WEIGHTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_engine(folder: Path, weights: str = "float32", compiled_rows: Collection[int] = ()) -> Engine:
    """Load a model folder for generation, with the defaults and end tokens of its `generation_config.json`.

    Args:
        folder: the model.
        weights: float32, bfloat16, int8 or int4 (`prepare_for_inference`), or `auto`: what is fastest on this
            machine and costs next to nothing in quality (`choose_weights`).
        compiled_rows: numbers of rows for which `Engine.compile` compiles the step; then `auto` is bfloat16
            where the processor multiplies it, and else float32.

    Raises:
        JielongError: if the folder is not a model folder that can be read.
        UsageError: if the weights are not known.
    """
    model = load_model(folder)
    if weights == "auto" and compiled_rows:
        weights = "bfloat16" if has_fast_bfloat16(model.embed.weight.device) else "float32"
    elif weights == "auto":
        weights = choose_weights(model)
    if compiled_rows and weights in _PLAIN_WEIGHTS:
        model = model.to(_PLAIN_WEIGHTS[weights]).eval()
    else:
        prepare_for_inference(model, weights)
    tokenizer = Tokenizer.load(folder)
    engine = Engine(
        model, tokenizer, end_ids=end_token_ids(folder), defaults=SamplingSettings.from_folder(folder)
    )
    if compiled_rows:
        engine.compile(compiled_rows)
    return engine
