"""What each kind of weights costs and gains: bits per byte, the exam, memory, and tokens per second.

float32, bfloat16, int8 and int4 in turn, of one model folder, or of a random network of a shape. Bits per
byte: held-out texts are read in pieces that begin with the start token, each as long as the context; nats of
all their tokens, divided by ln 2 and the texts' bytes. The exam is marked as `jielong exam` does. A random
network knows nothing; all that is told of it is how far its predictions move, as a mean divergence from those
of float32 in nats a token. Tokens are generated greedily, end tokens or not, and the best of some rounds
counts, in which the kinds take turns; with --compile by compiled steps.

With --kernels the matrices alone are timed instead. First one by one, in microseconds by rows and by way
to multiply, from the cache if they fit in. Then all of a network after each other, as a step reads them:
bytes of weights a second, and which share that is of the speed at which this machine reads memory.

Run: python -m benchmarks.weights MODEL [--heldout FILE.jsonl] [--exam WORLD] [--kinds int8 ...] [--no-speed]
     python -m benchmarks.weights --shape 125m [--compile] [--threads 2]
     python -m benchmarks.weights MODEL | --shape 125m  --kernels
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from benchmarks.decode_llamacpp import make_model
from benchmarks.decoding import SHAPES
from jielong.core.files import find_model
from jielong.evaluation import read_exam, take_exam
from jielong.evaluation.exam import ExamSettings
from jielong.evaluation.run import prompt_form
from jielong.generation import Engine, SamplingSettings, load_engine
from jielong.models import WEIGHTS, Transformer, Weights, load_model
from jielong.models.inference import make_linear
from jielong.models.packed import FloatLinear
from jielong.models.quantized import Int4Linear, Int8Linear
from jielong.training.peak import best_time

BATCHES = (1, 8, 32)
KERNEL_ROWS = (1, 2, 4, 8, 16, 32, 128, 512)
_PROMPT = 32  # tokens before those that are timed


def main() -> None:
    """Measure, print a table, and end with one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?", help="a model folder, or a run folder that holds one")
    parser.add_argument("--shape", choices=list(SHAPES), help="a random network instead of a model")
    parser.add_argument("--heldout", type=Path, help="JSON Lines with `text`; default: the world's own")
    parser.add_argument("--exam", type=Path, help="exam file or world folder; default: the world of the run")
    parser.add_argument("--kinds", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    parser.add_argument("--texts", type=int, default=2000, help="most held-out texts to read")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to generate a row when timing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compile the step for each batch")
    parser.add_argument("--kernels", action="store_true", help="time the matrices by themselves")
    parser.add_argument("--no-exam", action="store_true")
    parser.add_argument("--no-speed", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if (options.model is None) == (options.shape is None):
        parser.error("name a model, or a shape with --shape")
    with TemporaryDirectory() as temporary:
        if options.shape:
            folder = Path(temporary) / options.shape
            make_model(folder, options.shape, [])
        else:
            folder = find_model(options.model)
        if options.kernels:
            time_kernels(load_model(folder))
            time_passes(folder, options.kinds)
        else:
            compare(folder, options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    """Quality and speed of each kind; the last line is JSON."""
    world = folder.parent.parent / "world"
    heldout = options.heldout or world / "pretrain_heldout.jsonl"
    texts = read_texts(heldout, options.texts) if heldout.exists() else []
    compiled = BATCHES if options.compile and not options.no_speed else ()
    engines = {kind: load_engine(folder, kind, compiled) for kind in options.kinds}
    exact = load_engine(folder)
    rows: dict[str, dict[str, Any]] = {kind: {} for kind in options.kinds}
    for kind, engine in engines.items():
        rows[kind] |= {"megabytes": round(weight_bytes(engine.model) / 1e6, 2)}
        rows[kind] |= {"divergence": round(divergence(exact, engine), 6)}
        if texts:
            rows[kind] |= {"bits_per_byte": round(bits_per_byte(engine, texts), 4)}
        if not options.no_exam and (options.exam or world.exists()):
            rows[kind] |= {"exam": exam_scores(engine, folder, options.exam or world)}
        print(kind, json.dumps(rows[kind], ensure_ascii=False), flush=True)
    if not options.no_speed:
        for _ in range(options.rounds):
            for kind, engine in engines.items():
                speeds = rows[kind].setdefault("tokens_per_second", {})
                for batch in BATCHES:
                    speed = tokens_per_second(engine, batch, options.tokens)
                    speeds[batch] = round(max(speeds.get(batch, 0.0), speed), 1)
    print_table(rows)
    print(json.dumps(result(folder, options, rows), ensure_ascii=False))


@torch.inference_mode()
def time_kernels(model: Transformer) -> None:
    """Microseconds of every way to multiply some rows by each shape of matrix; the last line is JSON."""
    weights = [weight for weight in model.parameters() if weight.dim() == 2 and weight.shape[1] % 32 == 0]
    shapes = {tuple(weight.shape): weight.detach() for weight in weights}
    rows: list[dict[str, Any]] = []
    for weight in shapes.values():
        narrow, narrower = Int8Linear(weight), Int4Linear(weight)
        wide = {"float32": weight, "bfloat16": weight.bfloat16()}
        packed = {kind: FloatLinear(value) for kind, value in wide.items()}
        for count in KERNEL_ROWS:
            x = torch.randn(count, weight.shape[1])
            times: dict[str, float] = {}
            for kind, value in wide.items():
                some = x.to(value.dtype)
                times[f"{kind} plain"] = microseconds(partial(torch.nn.functional.linear, some, value))
                times[kind] = microseconds(partial(packed[kind], some))
            times["int8"] = microseconds(partial(narrow, x))
            times["int4 kernel"] = microseconds(partial(narrower.by_kernel, x.bfloat16()))
            if narrower.block_half is not None:
                times["int4 widened"] = microseconds(partial(narrower.by_widening, x.bfloat16()))
            rows.append({"shape": list(weight.shape), "rows": count, **times})
            print(*weight.shape, count, *(f"{name} {taken:.0f}" for name, taken in times.items()), sep="  ")
    print(json.dumps({"name": "weights_kernels", "unit": "microseconds", "kernels": rows}))


@torch.inference_mode()
def time_passes(folder: Path, kinds: Sequence[Weights]) -> None:
    """How near each kind comes to reading its weights as fast as memory gives them; the last line is JSON."""
    bandwidth = read_bytes_per_second()
    print(f"memory is read at {bandwidth / 1e9:.1f} GB/s")
    found: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        model = load_model(folder)
        matrices = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
        layers = [make_linear(matrix, None, kind) for matrix in matrices]
        if model.lm_head is None:
            matrices.append(model.embed.weight)
            layers.append(make_linear(matrices[-1], None, "int8" if kind == "int4" else kind))
        widths = [matrix.shape[1] for matrix in matrices]
        del model, matrices
        size = sum(weight_bytes(layer) for layer in layers)
        found[kind] = {"megabytes": round(size / 1e6, 2), "milliseconds": {}, "share_of_bandwidth": {}}
        for rows in BATCHES:
            seconds = best_time(partial(one_pass, layers, widths, rows), torch.device("cpu"), 1.0)
            found[kind]["milliseconds"][rows] = round(1e3 * seconds, 3)
            found[kind]["share_of_bandwidth"][rows] = round(size / seconds / bandwidth, 3)
        shown = ", ".join(
            f"{rows} rows {taken:.2f} ms ({found[kind]['share_of_bandwidth'][rows]:.0%} of the bandwidth)"
            for rows, taken in found[kind]["milliseconds"].items()
        )
        print(f"{kind:9s} {size / 1e6:9.2f} MB: {shown}", flush=True)
    line = {"name": "weights_passes", "value": round(bandwidth / 1e9, 2), "unit": "GB/s"}
    print(json.dumps(line | {"threads": torch.get_num_threads(), "kinds": found}))


def one_pass(layers: Sequence[nn.Module], widths: Sequence[int], rows: int) -> None:
    """Multiply by every matrix once."""
    for layer, width in zip(layers, widths, strict=True):
        layer(torch.ones(rows, width))


def read_bytes_per_second() -> float:
    """Speed at which this many threads read memory: the sum of an array many times as large as any cache."""
    numbers = torch.ones(1 << 26)
    return 4 * len(numbers) / best_time(numbers.sum, torch.device("cpu"), 1.0)


def microseconds(work: Callable[[], object]) -> float:
    """Of the fastest of some calls."""
    return round(1e6 * best_time(work, torch.device("cpu"), 0.02), 1)


def read_texts(path: Path, most: int) -> list[str]:
    """The first texts of a file of JSON Lines."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(most), strict=False)]


def bits_per_byte(engine: Engine, texts: Sequence[str]) -> float:
    """Bits per byte of texts that the model has not seen."""
    tokenizer = engine.tokenizer
    step = engine.context_length - 1
    encoded = tokenizer.encode_batch(texts)
    pieces = [ids[start : start + step] for ids in encoded for start in range(0, len(ids), step)]
    nats = -sum(engine.score([[tokenizer.bos_id]] * len(pieces), pieces))
    spelled = sum(len(tokenizer.token_bytes(token)) for ids in encoded for token in ids)
    return nats / math.log(2) / spelled


def divergence(exact: Engine, engine: Engine, tokens: int = 64) -> float:
    """Mean KL divergence from float32's predictions, nats a token, over random texts."""
    generator = torch.Generator().manual_seed(0)
    shape = (8, min(tokens, engine.context_length))
    ids = torch.randint(20, engine.tokenizer.vocab_size, shape, generator=generator)
    positions = torch.arange(shape[1]).expand(shape)
    with torch.inference_mode():
        ours, theirs = (
            one.model.head(one.model(ids, positions)).float().log_softmax(-1) for one in (engine, exact)
        )
    return float(torch.nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1).mean())


def exam_scores(engine: Engine, folder: Path, exam: Path) -> dict[str, str]:
    """Right answers of all, by skill and form; the languages together."""
    taken = take_exam(engine, read_exam(exam), ExamSettings(form=prompt_form(folder)))
    counts: dict[str, list[int]] = {}
    for row in taken.rows():
        right, total = counts.setdefault(f"{row['skill']}.{row['form']}", [0, 0])
        counts[f"{row['skill']}.{row['form']}"] = [right + row["right"], total + row["total"]]
    right, total = (sum(column) for column in zip(*counts.values(), strict=True))
    return {name: f"{a}/{b}" for name, (a, b) in {"all": (right, total), **counts}.items()}


def tokens_per_second(engine: Engine, batch: int, tokens: int) -> float:
    """Speed of decoding some rows together, their prefill included in neither count nor time."""
    draw = random.Random(batch)
    # Other prompts every time: an engine keeps what it has computed of earlier ones.
    prompts = [
        [draw.randrange(20, engine.tokenizer.vocab_size) for _ in range(_PROMPT)] for _ in range(batch)
    ]
    short, long = (_timed(engine, prompts, count) for count in (8, 8 + tokens))
    return (long[0] - short[0]) / (long[1] - short[1])


def _timed(engine: Engine, prompts: list[list[int]], tokens: int) -> tuple[int, float]:
    """Tokens that were generated, and the seconds that it took."""
    never = Endless(engine)
    began = time.perf_counter()
    completions = never.generate(prompts, SamplingSettings(temperature=0, max_tokens=tokens))
    return sum(len(completion.ids) for completion in completions), time.perf_counter() - began


class Endless(Engine):
    """An engine whose answers do not end before their limit."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.model, engine.tokenizer)
        self.end_ids = frozenset()
        self._compiled, self._rows.sizes = engine._compiled, engine._rows.sizes


def weight_bytes(network: nn.Module) -> int:
    """Memory of the weights, re-ordered copies included; tensors that share their memory count once."""
    sizes: dict[int, int] = {}
    for module in network.modules():
        for tensor in [*module.parameters(recurse=False), *vars(module).values()]:
            if isinstance(tensor, torch.Tensor):
                key = id(tensor) if tensor.is_mkldnn else tensor.data_ptr()
                sizes[key] = tensor.numel() * tensor.element_size()
    return sum(sizes.values())


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """The kinds below each other."""
    for kind, row in rows.items():
        quality = f"divergence {row['divergence']:.6f}"
        if "bits_per_byte" in row:
            quality += f"  {row['bits_per_byte']:7.4f} bits/byte"
        if "exam" in row:
            quality += f"  exam {row['exam']['all']}"
        speeds = "  ".join(
            f"{speed:9,.0f} tokens/s at {batch}" for batch, speed in row.get("tokens_per_second", {}).items()
        )
        print(f"{kind:9s} {row['megabytes']:9.2f} MB  {quality}  {speeds}")


def result(folder: Path, options: argparse.Namespace, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The last line: what the fastest kind at batch 1 gains over float32, and every row."""
    speeds = {kind: row["tokens_per_second"][1] for kind, row in rows.items() if "tokens_per_second" in row}
    line: dict[str, Any] = {"name": "weights", "unit": "tokens/s", "model": folder.name}
    line |= {"threads": options.threads, "compiled": options.compile}
    if "float32" in speeds:
        fastest = max(speeds, key=speeds.__getitem__)
        line |= {"value": speeds[fastest], "fastest": fastest, "peer": "float32"}
        line |= {"ratio": round(speeds[fastest] / speeds["float32"], 3)}
    return line | {"kinds": rows}


if __name__ == "__main__":
    main()
