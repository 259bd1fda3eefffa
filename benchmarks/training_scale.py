"""Cost of training as work grows: tokens a second and peak memory over context, batch and width.

Every point is a process of its own, so that its peak memory is its own; it trains with our loop on random
full rows and is timed after its first step, which compiles.

Run: python -m benchmarks.training_scale [--steps 6] [--eager] [--only context batch width]
"""

import argparse
import json
from typing import Any

import torch

from benchmarks.contestants import run_ours
from benchmarks.paced import Turns, Worker
from jielong.models import count_parameters, flops_per_token, qwen3_config
from jielong.training.peak import measure_square_matmul
from jielong.training.planning import PROCESS_BYTES, training_memory

VOCABULARY = 4096
BASE = {"width": 256, "layers": 6, "context": 256, "rows": 32}
POINTS = {
    "context": [{"context": 1 << power, "rows": 8192 >> power} for power in range(7, 13)],
    "batch": [{"rows": rows} for rows in (4, 8, 16, 32, 64)],
    "width": [{"width": width} for width in (128, 192, 256, 384, 512)],
}
"""What differs from `BASE`; over contexts of 128 to 4,096 a batch keeps its 8,192 tokens."""


def main() -> None:
    """Measure every point, print a table, and end with one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--only", nargs="+", choices=list(POINTS), default=list(POINTS))
    parser.add_argument("--base", type=json.loads, default={}, help="JSON that changes the base point")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        work(options.worker, options.eager)
        return
    peak = measure_square_matmul(torch.device("cpu"), torch.bfloat16, 0.5)[0]
    print("series    width layers context rows   tokens/s  of the limit  peak memory  formula")
    rows = []
    for series in options.only:
        for change in POINTS[series]:
            rows.append(measure(options, series, {**BASE, **options.base, **change}, peak))
            print(line(rows[-1]), flush=True)
    print(json.dumps(result(rows, options)))


def work(point: dict[str, Any], eager: bool) -> None:
    """Train one point until the parent has enough."""
    config = qwen3_config(point["width"], point["layers"], VOCABULARY, point["context"])
    run_ours(config, point["rows"], point["context"], Turns(), compile="no" if eager else "yes")


def measure(options: argparse.Namespace, series: str, point: dict[str, Any], peak: float) -> dict[str, Any]:
    """Speed and memory of one point."""
    command = [
        "-m",
        "benchmarks.training_scale",
        "--worker",
        json.dumps(point),
        "--threads",
        str(options.threads),
    ]
    worker = Worker.start(series, [*command, "--eager"] if options.eager else command)
    try:
        worker.turn(1)
        turn = worker.turn(options.steps)
    finally:
        worker.stop()
    config = qwen3_config(point["width"], point["layers"], VOCABULARY, point["context"])
    speed = point["rows"] * point["context"] * turn["steps"] / turn["seconds"]
    formula = training_memory(config, point["rows"], point["context"], "adamw", 2, on_cpu=True)
    return {
        "series": series,
        **point,
        "parameters": count_parameters(config),
        "tokens_per_second": round(speed),
        "share_of_matmul_limit": round(speed * flops_per_token(config, point["context"]) / peak, 4),
        "peak_bytes": turn["peak_bytes"],
        "formula_bytes": formula.total + PROCESS_BYTES,
    }


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    return (
        f"{row['series']:9s} {row['width']:5d} {row['layers']:6d} {row['context']:7d} {row['rows']:4d} "
        f"{row['tokens_per_second']:10,d}  {row['share_of_matmul_limit']:11.1%}  "
        f"{row['peak_bytes'] / 1e9:8.2f} GB  {row['formula_bytes'] / 1e9:.2f} GB"
    )


def result(rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The last line: how much of the speed at the shortest context is left at the longest."""
    contexts = [row for row in rows if row["series"] == "context"] or rows
    first, last = contexts[0], contexts[-1]
    return {
        "name": "training_scale",
        "value": last["tokens_per_second"],
        "unit": f"tokens/s at a context of {last['context']}",
        "peer": first["tokens_per_second"],
        "ratio": round(last["tokens_per_second"] / first["tokens_per_second"], 3),
        "target": None,
        "compiled": not options.eager,
        "threads": options.threads,
        "points": rows,
    }


if __name__ == "__main__":
    main()
