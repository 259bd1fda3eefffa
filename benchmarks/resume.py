"""Kill real training runs with SIGKILL at random moments, resume them, and compare what they end with.

Every run is killed several times, every second time in the middle of writing a checkpoint, then resumed to
its end. Its model must have the bytes of the run that was never killed, and metrics.jsonl the same steps. The
other part measures what checkpoints cost at the default interval, for a network of about 4 M parameters.
Run: python -m benchmarks.resume [--runs 20] [--kills 4] [--minutes 3]
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from jielong.training.metrics import read_metrics
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import PretrainSettings

TARGET = 1.0
"""Share of killed runs that should end bit-identical."""
TARGET_COST = 0.02
"""Share of the time that checkpoints may take at the default interval."""
CLOCK = {"seconds", "tokens_per_second"}

# A process that has torch imported already forks every run, so that killing costs no start of Python.
FORKS = multiprocessing.get_context("forkserver")


def main() -> None:
    """Print what was measured; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs that are killed")
    parser.add_argument("--kills", type=int, default=4, help="kills of each run")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="of training, to measure the cost; 0: none"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    FORKS.set_forkserver_preload(["jielong.cli.train", "jielong.training.pretrain", "torch._dynamo"])
    with tempfile.TemporaryDirectory() as place:
        rows = kill_runs(Path(place), options.runs, options.kills, random.Random(options.seed))
        cost = checkpoint_cost(Path(place), options.minutes) if options.minutes else {}
    same = sum(row["same"] for row in rows)
    print(
        json.dumps(
            {
                "name": "resume",
                "value": same / len(rows),
                "unit": "share of killed runs that ended bit-identical",
                "peer": None,
                "ratio": None,
                "target": TARGET,
                "runs": len(rows),
                "kills": sum(row["kills"] for row in rows),
                "kills_while_writing": sum(row["while_writing"] for row in rows),
                "checkpoint_cost": cost,
                "target_checkpoint_share": TARGET_COST,
                "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
            }
        )
    )


def kill_runs(place: Path, runs: int, kills: int, chance: random.Random) -> list[dict[str, Any]]:
    """Run one recipe undisturbed, then again and again with kills; a row for each of those."""
    write_corpus(place / "corpus.jsonl")
    go(place, recipe(place, "first"), resume=False).join()  # it waits for the imports
    began = time.monotonic()
    go(place, recipe(place, "whole"), resume=False).join()
    seconds = time.monotonic() - began
    expected = outcome(place / "whole")
    print(f"undisturbed: {seconds:.1f} s, {len(expected[1])} records in metrics.jsonl")
    print(f"{'run':>4} {'kills':>6} {'while writing':>14} {'same bytes':>11} {'same steps':>11}")
    rows = []
    for number in range(runs):
        file = recipe(place, f"killed-{number}")
        found = disturb(place, file, place / file.stem / "checkpoints", kills, seconds, chance)
        model, steps = outcome(place / file.stem)
        row = {**found, "same": model == expected[0] and steps == expected[1]}
        rows.append(row)
        print(
            f"{number:>4} {row['kills']:>6} {row['while_writing']:>14} "
            f"{model == expected[0]!s:>11} {steps == expected[1]!s:>11}",
            flush=True,
        )
    return rows


def disturb(
    place: Path, file: Path, checkpoints: Path, kills: int, seconds: float, chance: random.Random
) -> dict[str, int]:
    """Start a run, kill it `kills` times, and let it end; counts the kills that found it alive."""
    hit = while_writing = 0
    for number in range(kills):
        process = go(place, file, resume=number > 0)
        process.join(chance.uniform(0, 1.2 * seconds / kills))
        if number % 2:
            while process.is_alive() and not half_written(checkpoints):
                pass
        process.kill()
        process.join()
        hit += process.exitcode == -signal.SIGKILL
        while_writing += half_written(checkpoints)
    go(place, file, resume=True).join()
    return {"kills": hit, "while_writing": while_writing}


def go(place: Path, file: Path, resume: bool) -> BaseProcess:
    """Start `jielong pretrain` in a process of its own."""
    words = ["pretrain", str(file), "--json", *["--resume"] * resume]
    process = FORKS.Process(target=command, args=(words, str(place)))
    process.start()
    return process


def command(words: Sequence[str], place: str) -> None:
    """What that process does."""
    os.chdir(place)
    with Path("log.txt").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        from jielong.cli import main as jielong

        jielong(words)


def half_written(checkpoints: Path) -> bool:
    return checkpoints.is_dir() and any(path.suffix == ".tmp" for path in checkpoints.iterdir())


def recipe(place: Path, name: str) -> Path:
    """A recipe file of a run of seconds that writes a checkpoint every second step."""
    settings = PretrainSettings.parse(
        {
            "out": name,
            "data": ["corpus.jsonl"],
            "vocab_size": 400,
            "model": {"width": 64, "layers": 2, "max_context": 64},
            "training": {
                "steps": 60, "batch_rows": 4, "context": 64, "validate_every": 20, "validation_rows": 8,
                "checkpoint_every": 2, "schedule": {"warmup": 5}, "device": "cpu",
                "optimizer": {"name": "muon"}, "average": {"decay": 0.9},
            },
        }
    )  # fmt: skip
    path = place / f"{name}.yaml"
    path.write_text(settings.to_yaml())
    return path


def outcome(run: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Weights and metrics of a run, but for what tells the time; nothing where it did not end."""
    file = run / "model" / "model.safetensors"
    if not file.is_file():
        return b"", []
    # How much of the limit a run reached is measured anew each time, and only in runs that are long enough.
    rows = [row for row in read_metrics(run / "metrics.jsonl") if "mfu" not in row]
    return file.read_bytes(), [{k: value for k, value in row.items() if k not in CLOCK} for row in rows]


def write_corpus(path: Path, lines: int = 300) -> None:
    rows = [{"text": f"小明有 {n} 顆蘋果。Ming has {n} apples; {n} + 1 = {n + 1}."} for n in range(lines)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def checkpoint_cost(place: Path, minutes: float) -> dict[str, float]:
    """Seconds a checkpoint, and their share of the training time, at the default interval."""
    write_corpus(place / "large.jsonl", 4000)
    settings = PretrainSettings.parse(
        {
            "out": place / "cost",
            "data": [place / "large.jsonl"],
            "vocab_size": 4096,
            "model": {"width": 256, "layers": 4},
            "training": {"minutes": minutes, "batch_rows": 16, "validate_every": 10_000, "compile": "no"},
        }
    )
    result = run_pretraining(settings, quiet=True)
    training = result.training
    found = {
        "parameters": result.parameters,
        "training_seconds": round(training.seconds, 1),
        "checkpoints": training.checkpoints,
        "seconds_each": round(training.checkpoint_seconds / training.checkpoints, 3),
        "share": round(training.checkpoint_seconds / training.seconds, 5),
    }
    print(
        f"checkpoints of {result.parameters / 1e6:.1f} M parameters: {found['checkpoints']} in "
        f"{found['training_seconds']} s, {found['seconds_each']} s each, {found['share']:.2%} of the time"
    )
    return found


if __name__ == "__main__":
    main()
