"""Compute what the recipes need on GPUs: memory and time. Nothing is measured here; the formulas are below.

Run: make bench NAME=scaling [ARGS="--peak 989"]
"""

import argparse
import json
from pathlib import Path

from jielong.models import ModelConfig, count_parameters, flops_per_token, qwen3_config
from jielong.training.settings import PretrainSettings

RECIPES = Path(__file__).parents[1] / "recipes"
ACTIVATIONS = 34
"""Bytes a token, block and unit of width that 16-bit training keeps, attention scores not counted
(Korthikanti et al., arXiv 2205.05198, section 4.1; for a block with a plain MLP, taken here for ours too)."""
CHECKPOINTED = 4
"""The same when only the float32 residual stream between blocks is kept."""
LOGITS = 10
"""Bytes a token and word of the vocabulary: logits in bfloat16, in float32, and their gradient."""
MFU = (0.2, 0.3, 0.4)
SCALING = 0.9
"""Assumed share of eight times one GPU's speed that eight GPUs of one machine reach."""


def main() -> None:
    """Print both tables; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peak", type=float, default=989.0, help="dense bfloat16 TFLOP/s of one GPU")
    peak = parser.parse_args().peak * 1e12
    recipes = {path.stem: PretrainSettings.load(path) for path in sorted(RECIPES.glob("pretrain-*.yaml"))}
    print("GB on each GPU                 weights gradients optimizer activations logits   sum")
    for name, settings in recipes.items():
        for title, processes, sharded, recompute in (
            ("1 GPU", 1, False, False),
            ("1 GPU, checkpointing", 1, False, True),
            ("8, ddp", 8, False, False),
            ("8, fsdp", 8, True, False),
        ):
            parts = memory(settings, processes, sharded, recompute)
            cells = "".join(f"{part:10.1f}" for part in (*parts, sum(parts)))
            print(f"{name:14} {title:20}{cells}")
    print("\nTokens, and hours at a utilisation of " + ", ".join(f"{mfu:.0%}" for mfu in MFU))
    result = {}
    for name, settings in recipes.items():
        training = settings.training
        tokens = (training.steps or 0) * training.batch_rows * training.accumulate * training.context
        work = tokens * flops_per_token(shape(settings), training.context)
        hours = [work / peak / mfu / 3600 for mfu in MFU]
        eight = [one / 8 / SCALING for one in hours]
        print(f"{name:14} {tokens / 1e9:5.2f} G  1 GPU {cells_of(hours)}   8 GPUs {cells_of(eight)}")
        result[name] = {"tokens": tokens, "flops": work, "hours_at_30_percent": round(hours[1], 2)}
    print(json.dumps({"benchmark": "scaling", "computed": True, "peak": peak, **result}))


def memory(settings: PretrainSettings, processes: int, sharded: bool, recompute: bool) -> tuple[float, ...]:
    """GB on each GPU: (weights, gradients, optimizer, activations, logits).

    Weights and gradients are float32, 4 bytes each. AdamW keeps 8 bytes a weight, Muon 4. FSDP holds a share
    of these; while it works also two blocks gathered in bfloat16, the embedding in float32, and gradients of
    both.
    """
    config, training = shape(settings), settings.training
    total = count_parameters(config)
    embedding = config.vocab_size * config.hidden_size
    matrices = total - embedding
    share = processes if sharded else 1
    gathered = 2 * 2 * matrices / config.num_hidden_layers + 4 * embedding if sharded else 0.0
    optimizer = 4 * matrices + 8 * embedding if training.optimizer.name == "muon" else 8 * total
    tokens = training.batch_rows / processes * training.context
    block = ACTIVATIONS * config.hidden_size * tokens
    layers = config.num_hidden_layers
    activations = CHECKPOINTED * config.hidden_size * tokens * layers + block if recompute else block * layers
    sizes = (
        4 * total / share + gathered,
        4 * total / share + gathered,
        optimizer / share,
        activations,
        LOGITS * config.vocab_size * tokens,
    )
    return tuple(size / 1e9 for size in sizes)


def shape(settings: PretrainSettings) -> ModelConfig:
    """The network that a recipe makes."""
    model = settings.model
    return qwen3_config(model.width, model.layers, settings.vocab_size, model.max_context)


def cells_of(hours: list[float]) -> str:
    """Hours in columns."""
    return " ".join(f"{value:7.2f}" for value in hours)


if __name__ == "__main__":
    main()
