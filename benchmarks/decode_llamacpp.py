"""Decoding: our engine against llama.cpp, on the same weights, threads, prompts and lengths.

Two random Qwen3 networks (a random network is as fast as a trained one): as large as quickstart's, and of 125
million parameters. Each is exported with `jielong export gguf` in the types that stand beside ours: f16 and
bf16 for bfloat16, q8_0 for int8, q4_0 for int4. Contestants are processes of their own that take turns; a
turn is one generation from short prompts, greedy, by one sequence or by 32 at once, text included. Ratios are
taken within a round, against llama.cpp's best variant of the case, and their median is reported.

Run: python -m benchmarks.decode_llamacpp [--models small 125M] [--weights bfloat16 int8 int4]
     [--sequences 1 32] [--threads 2 1] [--rounds 5] [--tokens 128]
Needs llama-cpp-python (pip install llama-cpp-python; built from source) and gguf (requirements/dev.txt).
"""

import argparse
import itertools
import json
import random
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.paced import Finished, Turns, Worker
from jielong.export import write_gguf
from jielong.models import Transformer, count_parameters, qwen3_config, save_model
from jielong.tokenizer import train_tokenizer

MODELS = {"small": (256, 4, 4096), "125M": (768, 12, 32768)}
"""Width, layers, vocabulary."""
TYPES = {"float32": ("f32",), "bfloat16": ("bf16", "f16"), "int8": ("q8_0",), "int4": ("q4_0",)}
"""GGUF types that stand beside each of our weight types."""
PROMPT, CONTEXT = 16, 1024
TARGETS = {1: 0.8, 32: 1.0}


@dataclass(frozen=True)
class Case:
    """What is measured: a model, our weight type, sequences at once, threads."""

    model: str
    weights: str
    sequences: int
    threads: int


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--weights", nargs="+", choices=list(TYPES), default=["bfloat16", "int8", "int4"])
    parser.add_argument("--sequences", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--threads", nargs="+", type=int, default=[2, 1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128, help="tokens that a sequence gains in a turn")
    parser.add_argument("--folder", type=Path, help="keep the models here (by default they are thrown away)")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.sequences[0], options.threads[0], options.tokens)
        return
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        for name in options.models:
            make_model(folder / name, name, options.weights)
        cases = [
            Case(model, weights, sequences, threads)
            for model in options.models
            for threads in options.threads
            for sequences in options.sequences
            for weights in options.weights
        ]
        results = [measure(case, folder, options.rounds, options.tokens) for case in cases]
    print(json.dumps(last_line(results, options)))


def make_model(folder: Path, name: str, weights: list[str]) -> None:
    """Write a random network, in bfloat16, as a model folder and as GGUF files."""
    width, layers, vocabulary = MODELS[name]
    if not (folder / "config.json").exists():
        texts = [f"文字接龍：第 {number} 句。 Sentence {number} of the text.\n" for number in range(999)]
        tokenizer = train_tokenizer(texts, 1024)
        model = Transformer(qwen3_config(width, layers, vocabulary, CONTEXT))
        with torch.no_grad():
            model.embed.weight[tokenizer.eos_id] = 0  # so it is never the likeliest: nobody stops early
        print(f"{name}: {count_parameters(model.config):,} parameters", flush=True)
        save_model(model, folder, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, dtype=torch.bfloat16)
        tokenizer.save(folder)
    for type_ in {type_ for kind in weights for type_ in TYPES[kind]}:
        path = folder / f"{type_}.gguf"
        if not path.exists():
            write_gguf(folder, path, type_)


def work(contestant: list[str], sequences: int, threads: int, tokens: int) -> None:
    """Be one contestant until the parent has enough."""
    program, folder, kind, cache = contestant
    turns = Turns()
    if program == "jielong":
        from jielong.generation import Request, SamplingSettings, load_engine

        torch.set_num_threads(threads)
        engine = load_engine(Path(folder), weights=kind)
        settings = SamplingSettings(temperature=0.0, max_tokens=tokens)

        def generate(prompts: list[list[int]]) -> int:
            return sum(len(done.ids) for done in engine.run([Request(p, settings) for p in prompts]))
    else:
        from benchmarks.llamacpp import Llama

        path = Path(folder) / f"{kind}.gguf"
        llama = Llama(path, PROMPT + tokens, sequences, threads, unified=cache == "unified")

        def generate(prompts: list[list[int]]) -> int:
            count = 0
            for rolled in llama.greedy(prompts, tokens):
                count += len(rolled)
                for token in rolled:
                    llama.piece(token)
            return count

    try:
        for number in itertools.count():
            # Other prompts every time: the engine keeps what it has computed of earlier ones.
            draw = random.Random(number)
            rolled = generate([[draw.randrange(20, 270) for _ in range(PROMPT)] for _ in range(sequences)])
            if rolled != sequences * tokens:
                raise SystemExit(f"{program} rolled {rolled} tokens, not {sequences * tokens}")
            turns.step()
    except Finished:
        pass


def contestants(case: Case) -> dict[str, list[str]]:
    """By name: program, kind of weights and kind of cache of everybody who takes part in a case."""
    found = {"jielong": ["jielong", case.weights, "-"]}
    for type_ in TYPES[case.weights]:
        found[f"llama.cpp {type_}"] = ["llama.cpp", type_, "split"]
        if case.sequences > 1:
            found[f"llama.cpp {type_} unified"] = ["llama.cpp", type_, "unified"]
    return found


def measure(case: Case, folder: Path, rounds: int, tokens: int) -> dict[str, Any]:
    """Let all contestants of a case take turns; the first turn of each is left out."""
    workers: list[Worker] = []
    turns: dict[str, list[dict[str, Any]]] = {}
    try:
        for name, (program, kind, cache) in contestants(case).items():
            command = ["-m", "benchmarks.decode_llamacpp", "--worker", program]
            command += [str(folder / case.model), kind, cache, f"--sequences={case.sequences}"]
            command += [f"--threads={case.threads}", f"--tokens={tokens}"]
            workers.append(Worker.start(name, command))
            workers[-1].turn(1)
            turns[name] = []
        for number in range(rounds):
            for worker in workers[number % len(workers) :] + workers[: number % len(workers)]:
                turns[worker.name].append(worker.turn(1))
    finally:
        for worker in workers:
            worker.stop()
    count = case.sequences * tokens
    speeds = {name: [count / turn["seconds"] for turn in rows] for name, rows in turns.items()}
    cpu = {name: statistics.median(turn["cpu_seconds"] for turn in rows) for name, rows in turns.items()}
    median = {name: statistics.median(values) for name, values in speeds.items()}
    peer = max((name for name in median if name != "jielong"), key=lambda name: median[name])
    ratio = statistics.median(a / b for a, b in zip(speeds["jielong"], speeds[peer], strict=True))
    row = {
        **asdict(case),
        "value": round(median["jielong"], 1),
        "peer": round(median[peer], 1),
        "peer_name": peer,
        "ratio": round(ratio, 3),
        "target": TARGETS.get(case.sequences),
        "cpu_ms_a_token": round(1000 * cpu["jielong"] / count, 4),
        "peer_cpu_ms_a_token": round(1000 * cpu[peer] / count, 4),
        "tokens_per_second": {name: round(value, 1) for name, value in median.items()},
    }
    print(
        f"{case.model:6s} {case.weights:9s} {case.sequences:3d} sequences, {case.threads} threads: "
        f"{row['value']:9,.0f} tokens/s, {peer} {row['peer']:9,.0f}, ratio {ratio:.2f}",
        flush=True,
    )
    return row


def last_line(results: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The case with the lowest ratio stands for all: one sequence first, and many beside it."""

    def worst(many: bool) -> dict[str, Any] | None:
        rows = [row for row in results if (row["sequences"] > 1) == many]
        return min(rows, key=lambda row: row["ratio"], default=None)

    one, many = worst(False), worst(True)
    head = one or many or {}
    return {
        "name": "decode_llamacpp",
        "value": head["value"],
        "unit": "tokens/s",
        "peer": head["peer"],
        "ratio": head["ratio"],
        "target": head["target"],
        "case": f"{head['model']}, {head['weights']}, {head['sequences']} at once, {head['threads']} threads",
        "ratio_many": many and many["ratio"],
        "target_many": many and many["target"],
        "rounds": options.rounds,
        "tokens": options.tokens,
        "cases": results,
    }


if __name__ == "__main__":
    main()
