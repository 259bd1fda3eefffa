"""Training throughput at one shape and batch: ours, plain torch loops, and transformers' Trainer.

The contestants live in processes of their own and take turns, so that a round measures all of them in the
same minute; ratios are taken within a round, and their median over the rounds is reported. Random full rows
without padding; AdamW everywhere but in `jielong_muon`.

Run: python -m benchmarks.training_speed [--rounds 7] [--steps 4] [--only jielong trainer ...]
Needs transformers and accelerate (requirements/dev.txt).
"""

import argparse
import json
import statistics
from typing import Any

import torch

from benchmarks.contestants import run_ours, run_plain_loop, run_trainer
from benchmarks.paced import Turns, Worker
from jielong.models import count_parameters, flops_per_token, qwen3_config
from jielong.training.peak import measure_square_matmul

BEST = {"bf16": True, "optim": "adamw_torch_fused", "logging_strategy": "no"}
CONTESTANTS: dict[str, dict[str, Any]] = {
    "jielong": {"optimizer": {"name": "adamw"}},
    "jielong_muon": {"optimizer": {"name": "muon"}},
    "loop_float32": {"bfloat16": False},
    "loop_bfloat16": {"bfloat16": True},
    "trainer": {},
    "trainer_bf16": BEST,
    "trainer_bf16_compile": {**BEST, "torch_compile": True},
    "trainer_bf16_compile_eager_attention": {**BEST, "torch_compile": True, "attention": "eager"},
}
"""What each is given beside shape and batch. `trainer` is as it comes: float32, fused AdamW, not compiled;
the others are what one can make of it on a CPU (data workers and pinned memory do not help rows that lie in
memory). The attention of the last is written out, which torch's compiler may fuse."""
TARGETS = {"trainer": 3.0, "best trainer": 1.5, "matmul": 0.55}


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--rows", type=int, default=32, help="rows of a batch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="steps of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--worker", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        work(options)
    else:
        print(json.dumps(result(options, measure(options))))


def work(options: argparse.Namespace) -> None:
    """Be one contestant until the parent has enough."""
    name = options.worker
    config = qwen3_config(options.width, options.layers, options.vocab, options.context)
    place = (config, options.rows, options.context, Turns())
    run = (
        run_ours if name.startswith("jielong") else run_plain_loop if name.startswith("loop") else run_trainer
    )
    run(*place, **CONTESTANTS[name])


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Turns by contestant; the first turn of each is a warm-up and left out."""
    shape = [
        f"--{name}={getattr(options, name)}"
        for name in ("width", "layers", "vocab", "context", "rows", "threads")
    ]
    workers: list[Worker] = []
    try:
        for name in options.only:
            # One after the other: two that compile the same code at once trip over each other's files.
            workers.append(Worker.start(name, ["-m", "benchmarks.training_speed", "--worker", name, *shape]))
            taken = workers[-1].turn(2)
            print(f"{name} is ready ({taken['seconds'] / 2:.2f} s a step)", flush=True)
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in options.only}
        peaks = []
        for number in range(options.rounds):
            # In another order every round: whoever follows the hottest neighbour is another one.
            for worker in workers[number % len(workers) :] + workers[: number % len(workers)]:
                turns[worker.name].append(worker.turn(options.steps))
            peaks.append(measure_square_matmul(torch.device("cpu"), torch.bfloat16, 0.5)[0])
    finally:
        for worker in workers:
            worker.stop()
    options.peak = max(peaks)
    return turns


def result(options: argparse.Namespace, turns: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Print the table; returns the last line."""
    config = qwen3_config(options.width, options.layers, options.vocab, options.context)
    tokens, cost = options.rows * options.context, flops_per_token(config, options.context)
    speeds = {
        name: [tokens * turn["steps"] / turn["seconds"] for turn in rows] for name, rows in turns.items()
    }
    median = {name: statistics.median(values) for name, values in speeds.items()}
    print(
        f"{count_parameters(config):,} parameters, {options.rows} x {options.context} tokens a step, "
        f"{options.threads} threads; matmul limit {options.peak / 1e9:,.0f} GFLOP/s bfloat16"
    )
    print(f"{'':38s} tokens/s  spread  of the limit  CPU s a step  peak memory")
    for name, rows in turns.items():
        cpu = statistics.median(turn["cpu_seconds"] / turn["steps"] for turn in rows)
        print(
            f"{name:38s} {median[name]:8,.0f}  {min(speeds[name]) / max(speeds[name]):5.0%}  "
            f"{median[name] * cost / options.peak:11.1%}  {cpu:11.2f}  {rows[-1]['peak_bytes'] / 1e9:8.2f} GB"
        )
    trainers = {name: value for name, value in median.items() if name.startswith("trainer")}
    best = max(trainers, key=lambda name: trainers[name], default="")
    ours = "jielong" if "jielong" in median else next(iter(median))

    def ratio(peer: str) -> float | None:
        if peer not in speeds:
            return None
        pairs = zip(speeds[ours], speeds[peer], strict=True)
        return round(statistics.median(mine / theirs for mine, theirs in pairs), 3)

    share = median[ours] * cost / options.peak
    return {
        "name": "training_speed",
        "value": round(median[ours]),
        "unit": "tokens/s",
        "peer": round(median["trainer"]) if "trainer" in median else None,
        "ratio": ratio("trainer"),
        "target": TARGETS["trainer"],
        "best_trainer": best,
        "ratio_to_best_trainer": ratio(best),
        "target_to_best_trainer": TARGETS["best trainer"],
        "ratio_to_loop_float32": ratio("loop_float32"),
        "ratio_to_loop_bfloat16": ratio("loop_bfloat16"),
        "share_of_matmul_limit": round(share, 3),
        "target_share": TARGETS["matmul"],
        "matmul_gflops": round(options.peak / 1e9),
        "tokens_per_second": {name: round(value) for name, value in median.items()},
        "rounds": options.rounds,
        "threads": options.threads,
    }


if __name__ == "__main__":
    main()
