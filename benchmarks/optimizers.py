"""Muon against AdamW: the same text, tokens, size, batches and seeds; each with the best of its rates.

Rates are tried with the first seed, over the whole run; then every seed is trained with the best one. What is
measured does not depend on the clock, so a busy machine only makes it slower.

Run: python -m benchmarks.optimizers [--split mixed] [--steps 300] [--seeds 0 1 2]
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.equal_time import AMOUNTS, CONTEXT, VOCABULARY
from benchmarks.real_text import Material, add_options, prepare
from jielong.models import Transformer, qwen3_config

RATES = {"muon": [3e-3, 6e-3, 12e-3], "adamw": [3e-3, 6e-3, 12e-3]}
"""Of Muon the rate of the matrices; the rest of its weights, AdamW's, get 4e-3."""


def main() -> None:
    """Try the rates, train the seeds, and end with one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, "runs/optimizers")
    parser.add_argument("--split", choices=list(AMOUNTS), default="mixed")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    material = prepare(options.out / options.split, options.data, AMOUNTS[options.split], VOCABULARY)
    best: dict[str, list[float]] = {}
    for name, rates in RATES.items():
        tried = {rate: train(name, rate, options.seeds[0], material, options) for rate in rates}
        rate = min(tried, key=lambda one: tried[one])
        rest = [train(name, rate, seed, material, options) for seed in options.seeds[1:]]
        best[name] = [tried[rate], *rest]
        shown = ", ".join(f"{bits:.4f}" for bits in best[name])
        print(f"{name}: rate {rate:g}, bits per byte {shown}", flush=True)
    differences = [muon - adamw for muon, adamw in zip(best["muon"], best["adamw"], strict=True)]
    print(
        json.dumps(
            {
                "name": "optimizers",
                "value": round(statistics.mean(best["muon"]), 4),
                "unit": "bits/byte, held out, with Muon",
                "peer": round(statistics.mean(best["adamw"]), 4),
                "ratio": round(statistics.mean(best["muon"]) / statistics.mean(best["adamw"]), 4),
                "target": None,
                "differences": [round(one, 4) for one in differences],
                "steps": options.steps,
                "shape": [options.width, options.layers],
            }
        )
    )


def train(name: str, rate: float, seed: int, material: Material, options: argparse.Namespace) -> float:
    """Bits per byte on the held-out chunks after one run."""
    from jielong.training.batches import PackedBatches
    from jielong.training.loop import Trainer
    from jielong.training.losses import next_token_loss
    from jielong.training.settings import TrainingSettings
    from jielong.training.validation import BitsPerByte, token_lengths

    tokenizer = material.tokenizer
    optimizer: dict[str, Any] = {"name": name, "lr": rate, "weight_decay": 0.05}
    if name == "muon":
        optimizer |= {"lr": 4e-3, "muon_lr": rate}
    settings = TrainingSettings.parse(
        {
            "steps": options.steps, "batch_rows": options.rows, "context": CONTEXT,
            "threads": options.threads, "optimizer": optimizer, "compile": "yes",
            "validate_every": options.steps + 1, "checkpoint_every": options.steps + 1,
            "validation_rows": 250,
        }
    )  # fmt: skip
    config = qwen3_config(options.width, options.layers, tokenizer.vocab_size, CONTEXT)
    with tempfile.TemporaryDirectory() as folder:
        result = Trainer(
            model=Transformer(config, seed),
            batches=PackedBatches(material.packed(material.train, CONTEXT), options.rows, seed),
            objective=next_token_loss,
            settings=settings,
            folder=Path(folder),
            validation=BitsPerByte(material.packed(material.heldout, CONTEXT), token_lengths(tokenizer)),
            title=f"{name} {rate:g}, seed {seed}",
            quiet=True,
        ).run()
    bits = result.bits_per_byte
    assert bits is not None  # noqa: S101  (there is held-out text)
    print(f"  {name}, rate {rate:g}, seed {seed}: {bits:.4f} after {result.tokens:,} tokens", flush=True)
    return bits


if __name__ == "__main__":
    main()
