"""Runs over sizes and tokens at three budgets, from which the scaling law of `jielong plan` is fitted.

Every finished run is a line of OUT/results.jsonl; running again goes on where it stopped. In the end the law
is fitted, written to src/jielong/training/planning/data/scaling_law.yaml, and drawn into docs/isoflop.svg.

Run: python -m benchmarks.isoflop            all runs (some 15 minutes on 2 quiet cores), fit, plot
     python -m benchmarks.isoflop --fit      only the fit and the plot of what is there
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from benchmarks.isoflop_plot import draw
from benchmarks.real_text import Material, add_options, prepare
from jielong.core.files import read_jsonl, to_jsonl, write_atomically
from jielong.models import Transformer, count_parameters, flops_per_token, qwen3_config
from jielong.training.planning import LawFit, Run, fit_law

ROOT = Path(__file__).resolve().parents[1]
LAW = ROOT / "src" / "jielong" / "training" / "planning" / "data" / "scaling_law.yaml"
PLOT = ROOT / "docs" / "isoflop.svg"
VOCABULARY, CONTEXT = 4096, 256
GRID = {
    1.5e12: ((32, 2), (64, 2), (96, 3), (128, 4), (192, 4)),
    4e12: ((32, 2), (64, 2), (96, 3), (128, 4), (192, 4)),
    1e13: ((32, 2), (64, 2), (96, 3), (128, 4), (192, 4)),
}
"""Shapes (width, layers) by budget in FLOPs: fifteen runs of 8e13 together."""
AMOUNTS = {"en": 10_000_000, "zh": 4_000_000}
"""Characters: each language about 3.5 M tokens. One run, the smallest of the largest budget, reads more."""
TRAINING = {
    "batch_rows": 8,
    "context": CONTEXT,
    "optimizer": {"name": "muon", "lr": 4e-3, "muon_lr": 6e-3, "weight_decay": 0.05},
    "schedule": {"kind": "linear", "decay": 0.5},
}
"""2,048 tokens a step, so that the shortest run still takes forty; the decay ends with each run."""


def main() -> None:
    """Do what is not done yet, fit, plot, and end with one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, "runs/isoflop")
    parser.add_argument("--fit", action="store_true", help="train nothing; fit and plot what is there")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all budgets, for a trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=300, help="bootstrap samples")
    parser.add_argument("--law", type=Path, help="where to write the fit; a trial's goes to its work folder")
    parser.add_argument("--plot", type=Path, help="where to write the plot; likewise")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    material = Material(options.out / "text")
    if options.worker:
        print(json.dumps(train(options.worker, material, options.threads)))
        return
    if not options.fit:
        prepare(material.folder, options.data, AMOUNTS, VOCABULARY)
        run_missing(options)
    results = read_results(options.out / "results.jsonl")
    fit = fit_law(
        [Run(row["parameters"], row["tokens"], row["bits_per_byte"]) for row in results],
        source=f"{len(results)} runs of benchmarks/isoflop.py",
        draws=options.draws,
    )
    trial = options.scale != 1.0
    law = options.law or (options.out / LAW.name if trial else LAW)
    plot = options.plot or (options.out / PLOT.name if trial else PLOT)
    law.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(law, law_yaml(fit, results))
    write_atomically(plot, draw(results, fit.law))
    print(f"wrote {law} and {plot}")
    print(json.dumps(summary(fit, results)))


def run_missing(options: argparse.Namespace) -> None:
    """Train what has no line in the results yet, small budgets first."""
    path = options.out / "results.jsonl"
    done = {key_of(row) for row in read_results(path)}
    jobs = [
        {"flops": flops * options.scale, "width": width, "layers": layers, "seed": options.seed}
        for flops, shapes in GRID.items()
        for width, layers in shapes
    ]
    for number, job in enumerate(jobs, 1):
        if key_of(job) in done:
            continue
        print(f"run {number} of {len(jobs)}: {job}", flush=True)
        # A process for each run: torch.compile keeps at most eight versions of a function in one.
        command = [
            sys.executable, "-m", "benchmarks.isoflop", "--worker", json.dumps(job),
            "--out", str(options.out), "--threads", str(options.threads),
        ]  # fmt: skip
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        row = json.loads(answer.splitlines()[-1])
        write_atomically(path, to_jsonl([*read_results(path), row]))
        print(f"  {row['tokens']:,} tokens, {row['bits_per_byte']:.4f} bits/byte, {row['seconds']:.0f} s")


def key_of(row: dict[str, Any]) -> str:
    """What tells runs apart."""
    return json.dumps([row["flops"], row["width"], row["layers"], row["seed"]])


def read_results(path: Path) -> list[dict[str, Any]]:
    """The finished runs."""
    return read_jsonl(path) if path.exists() else []


def train(job: dict[str, Any], material: Material, threads: int) -> dict[str, Any]:
    """One run of a budget with the schedule that ends with it; returns its line of the results."""
    from jielong.training.batches import PackedBatches
    from jielong.training.loop import Trainer
    from jielong.training.losses import next_token_loss
    from jielong.training.settings import TrainingSettings
    from jielong.training.validation import BitsPerByte, token_lengths

    tokenizer = material.tokenizer
    config = qwen3_config(job["width"], job["layers"], tokenizer.vocab_size, CONTEXT)
    packed = material.packed(material.train, CONTEXT)
    heldout = material.packed(material.heldout, CONTEXT)
    a_step = TRAINING["batch_rows"] * CONTEXT * packed.utilisation
    steps = max(2, round(job["flops"] / flops_per_token(config, CONTEXT) / a_step))
    schedule = {**TRAINING["schedule"], "warmup": min(40, steps // 10)}
    settings = TrainingSettings.parse(
        {
            **TRAINING, "schedule": schedule, "steps": steps, "threads": threads,
            "validate_every": steps + 1, "checkpoint_every": steps + 1,
            "validation_rows": min(300, len(heldout.tokens) // 4),
        }
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        result = Trainer(
            model=Transformer(config, seed=job["seed"]),
            batches=PackedBatches(packed, settings.batch_rows, job["seed"]),
            objective=next_token_loss,
            settings=settings,
            folder=Path(folder),
            validation=BitsPerByte(heldout, token_lengths(tokenizer)),
            title=f"{job['width']} x {job['layers']}",
        ).run()
    return {
        **job,
        "parameters": count_parameters(config),
        "steps": steps,
        "tokens": result.tokens,
        "bits_per_byte": result.bits_per_byte,
        "seconds": result.seconds,
        "tokens_per_second": result.tokens_per_second,
    }


def law_yaml(fit: LawFit, results: list[dict[str, Any]]) -> str:
    """The fit as the package reads it, with the runs behind it."""
    values = {
        "law": fit.law.to_yaml_fields(),
        "alpha_interval": list(fit.alpha_interval),
        "beta_interval": list(fit.beta_interval),
        "size_exponent": fit.size_exponent,
        "size_exponent_interval": list(fit.size_exponent_interval),
        "residual": fit.residual,
        "runs": [
            {
                **{name: row[name] for name in ("flops", "width", "layers", "parameters", "tokens")},
                "bits_per_byte": round(row["bits_per_byte"], 5),
            }
            for row in results
        ],
    }
    return "# Written by `python -m benchmarks.isoflop`: jielong plan goes by it.\n" + yaml.safe_dump(
        values, sort_keys=False
    )


def summary(fit: LawFit, results: list[dict[str, Any]]) -> dict[str, Any]:
    """The last line."""
    return {
        "name": "isoflop",
        "value": round(fit.size_exponent, 3),
        "unit": "exponent of the optimal size over compute",
        "peer": 0.51,
        "ratio": round(fit.size_exponent / 0.51, 3),
        "target": None,
        "runs": len(results),
        "seconds": round(sum(row["seconds"] for row in results)),
        "fit": asdict(fit),
    }


if __name__ == "__main__":
    main()
