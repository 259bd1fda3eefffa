"""Decoding speed, ours against llama.cpp: the same random weights, threads, prompts and numbers of tokens.

Each model is exported with `jielong export gguf` in the types that stand beside ours: f16 and bf16 for
bfloat16, q8_0 for int8, q4_0 for int4. Contestants are processes of their own that take turns; a turn is one
generation, greedy, from short prompts (other ones every time), of one sequence or of 32 at once, and its
text. Ratios are taken within a round, between the best of each side, and their median is reported.
Compiling and loading do not count.

Run: python -m benchmarks.decode_llamacpp [--shapes quickstart 125m] [--weights bfloat16 int8 int4]
     [--sequences 1 32] [--threads 2 1] [--rounds 5] [--tokens 128]
Needs llama-cpp-python (pip install llama-cpp-python; built from source) and gguf (requirements/dev.txt).
"""

import argparse
import itertools
import json
import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoding import CONTEXT, SHAPES
from benchmarks.paced import Finished, Turns, Worker
from jielong.export import write_gguf
from jielong.models import Transformer, count_parameters, qwen3_config, save_model
from jielong.tokenizer import train_tokenizer

TYPES = {"float32": ("f32",), "bfloat16": ("bf16", "f16"), "int8": ("q8_0",), "int4": ("q4_0",)}
"""GGUF types that stand beside each of our weight types."""
PROMPT = 16
TARGETS = {False: 0.8, True: 1.0}
"""Of one sequence, and of many."""


@dataclass(frozen=True)
class Case:
    """What is measured: a shape, our weight type, sequences at once, threads."""

    shape: str
    weights: str
    sequences: int
    threads: int


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
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
    if find_spec("llama_cpp") is None:
        raise SystemExit("llama.cpp is not installed: pip install llama-cpp-python")
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        for shape in options.shapes:
            make_model(folder / shape, shape, options.weights)
        cases = [
            Case(shape, weights, sequences, threads)
            for shape in options.shapes
            for threads in options.threads
            for sequences in options.sequences
            for weights in options.weights
        ]
        results = [measure(case, folder, options.rounds, options.tokens) for case in cases]
    print(json.dumps(last_line(results, options)))


def make_model(folder: Path, shape: str, weights: list[str]) -> None:
    """Write a random network, in bfloat16, as a model folder and as GGUF files."""
    width, layers, vocabulary = SHAPES[shape]
    if not (folder / "config.json").exists():
        texts = [f"文字接龍：第 {number} 句。 Sentence {number} of the text.\n" for number in range(999)]
        tokenizer = train_tokenizer(texts, 1024)
        model = Transformer(qwen3_config(width, layers, vocabulary, CONTEXT))
        with torch.no_grad():
            model.embed.weight[tokenizer.eos_id] = 0  # so it is never the likeliest: nobody stops early
        print(f"{shape}: {count_parameters(model.config):,} parameters", flush=True)
        save_model(model, folder, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, dtype=torch.bfloat16)
        tokenizer.save(folder)
    for type_ in {type_ for kind in weights for type_ in TYPES[kind]}:
        path = folder / f"{type_}.gguf"
        if not path.exists():
            write_gguf(folder, path, type_)


Generate = Callable[[list[list[int]]], int]
"""Goes on from prompts and gives the number of tokens that came."""


def ours(folder: Path, weights: str, way: str, sequences: int, tokens: int) -> Generate:
    """Our engine, as loaded or compiled."""
    from jielong.generation import Request, SamplingSettings, load_engine

    engine = load_engine(folder, weights, [sequences] if way == "compiled" else ())
    settings = SamplingSettings(temperature=0.0, max_tokens=tokens)
    return lambda prompts: sum(len(done.ids) for done in engine.run([Request(p, settings) for p in prompts]))


def theirs(path: Path, way: str, sequences: int, threads: int, tokens: int) -> Generate:
    """llama.cpp, with one buffer of keys and values for every sequence or one for all."""
    from benchmarks.llamacpp import Llama

    llama = Llama(path, PROMPT + tokens, sequences, threads, unified=way == "unified")

    def generate(prompts: list[list[int]]) -> int:
        count = 0
        for rolled in llama.greedy(prompts, tokens):
            count += len(rolled)
            for token in rolled:
                llama.piece(token)
        return count

    return generate


def work(contestant: list[str], sequences: int, threads: int, tokens: int) -> None:
    """Be one contestant until the parent has enough."""
    program, folder, kind, way = contestant
    torch.set_num_threads(threads)
    if program == "jielong":
        generate = ours(Path(folder), kind, way, sequences, tokens)
    else:
        generate = theirs(Path(folder) / f"{kind}.gguf", way, sequences, threads, tokens)
    turns = Turns()
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
    """By name: program, kind of weights and way of everybody who takes part in a case."""
    found = {f"jielong {way}": ["jielong", case.weights, way] for way in ("plain", "compiled")}
    for type_ in TYPES[case.weights]:
        for way in ("split", "unified")[: 1 if case.sequences == 1 else 2]:
            found[f"llama.cpp {type_} {way}"] = ["llama.cpp", type_, way]
    return found


def measure(case: Case, folder: Path, rounds: int, tokens: int) -> dict[str, Any]:
    """Let all contestants of a case take turns; the first turn of each is left out."""
    workers: list[Worker] = []
    try:
        for name, (program, kind, way) in contestants(case).items():
            command = ["-m", "benchmarks.decode_llamacpp", "--worker", program]
            command += [str(folder / case.shape), kind, way, f"--sequences={case.sequences}"]
            command += [f"--threads={case.threads}", f"--tokens={tokens}"]
            worker = Worker.start(name, command)
            workers.append(worker)
            try:
                worker.turn(1)
            except SystemExit as error:
                print(f"{name} drops out: {error}", flush=True)
                workers.remove(worker)
        turns: dict[str, list[dict[str, Any]]] = {worker.name: [] for worker in workers}
        for number in range(rounds):
            for worker in workers[number % len(workers) :] + workers[: number % len(workers)]:
                turns[worker.name].append(worker.turn(1))
    finally:
        for worker in workers:
            worker.stop()
    return row_of(case, turns, case.sequences * tokens)


def row_of(case: Case, turns: dict[str, list[dict[str, Any]]], count: int) -> dict[str, Any]:
    """The figures of a case, from what `count` tokens took every contestant in every round."""
    speeds = {name: [count / turn["seconds"] for turn in rows] for name, rows in turns.items()}
    cpu = {name: statistics.median(turn["cpu_seconds"] for turn in rows) for name, rows in turns.items()}
    median = {name: statistics.median(values) for name, values in speeds.items()}
    ours, peer = (
        max((name for name in median if name.startswith(program)), key=lambda name: median[name])
        for program in ("jielong", "llama.cpp")
    )
    ratio = statistics.median(a / b for a, b in zip(speeds[ours], speeds[peer], strict=True))
    print(
        f"{case.shape:10s} {case.weights:8s} {case.sequences:3d} at once, {case.threads} threads: "
        f"{ours} {median[ours]:,.0f} tokens/s, {peer} {median[peer]:,.0f}, ratio {ratio:.2f}",
        flush=True,
    )
    return {
        **asdict(case),
        "value": round(median[ours], 1),
        "peer": round(median[peer], 1),
        "ratio": round(ratio, 3),
        "target": TARGETS[case.sequences > 1],
        "ours": ours,
        "best_peer": peer,
        "ratio_cpu_time": round(cpu[peer] / cpu[ours], 3),
        "tokens_per_second": {name: round(value, 1) for name, value in median.items()},
    }


def last_line(results: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The case with the lowest ratio stands for all: one sequence first, and many beside it."""

    def worst(many: bool) -> dict[str, Any] | None:
        rows = [row for row in results if (row["sequences"] > 1) == many]
        return min(rows, key=lambda row: row["ratio"], default=None)

    one, many = worst(False), worst(True)
    head = one or many
    assert head is not None  # noqa: S101
    keys = (
        "value",
        "peer",
        "ratio",
        "target",
        "shape",
        "weights",
        "sequences",
        "threads",
        "ours",
        "best_peer",
    )
    return {
        "name": "decode_llamacpp",
        "unit": "tokens/s",
        **{key: head[key] for key in keys},
        "ratio_many": many and many["ratio"],
        "target_many": many and many["target"],
        "rounds": options.rounds,
        "tokens": options.tokens,
        "cases": results,
    }


if __name__ == "__main__":
    main()
