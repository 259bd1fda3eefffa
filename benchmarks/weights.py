"""What each kind of weights costs and gains: bits per byte, the exam, memory, and tokens per second.

For one model folder, float32, bfloat16, int8 and int4 in turn. Bits per byte: held-out texts are read in
pieces that begin with the start token, each as long as the context; nats of all their tokens, divided by ln 2
and the texts' bytes. The exam is marked as `jielong exam` does. Tokens are generated greedily from prompts of
the held-out text, end tokens or not, and the best of some rounds counts, in which the kinds take turns.

With --kernels the model's matrices alone are timed instead, in microseconds by rows and by way to multiply:
from these times come the limits in `models.packed` and `models.quantized`.

Run: python -m benchmarks.weights MODEL [--heldout FILE.jsonl] [--exam WORLD] [--kinds int8 ...] [--no-speed]
     python -m benchmarks.weights MODEL --kernels
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from jielong.core.files import find_model
from jielong.evaluation import read_exam, take_exam
from jielong.evaluation.exam import ExamSettings
from jielong.evaluation.run import prompt_form
from jielong.generation import Engine, SamplingSettings, load_engine
from jielong.models import WEIGHTS, Transformer, load_model
from jielong.models.packed import FloatLinear
from jielong.models.quantized import Int4Linear, Int8Linear
from jielong.training.peak import best_time

BATCHES = (1, 8, 32)
KERNEL_ROWS = (1, 2, 4, 8, 12, 16, 32, 128, 512)
_PROMPT = 32  # tokens before those that are timed


def main() -> None:
    """Measure, print a table, and end with one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a model folder, or a run folder that holds one")
    parser.add_argument("--heldout", type=Path, help="JSON Lines with `text`; default: the world's own")
    parser.add_argument("--exam", type=Path, help="exam file or world folder; default: the world of the run")
    parser.add_argument("--kinds", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    parser.add_argument("--texts", type=int, default=2000, help="most held-out texts to read")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to generate a row when timing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernels", action="store_true", help="time the matrices by themselves")
    parser.add_argument("--no-exam", action="store_true")
    parser.add_argument("--no-speed", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = find_model(options.model)
    if options.kernels:
        time_kernels(load_model(folder))
        return
    world = folder.parent.parent / "world"
    texts = read_texts(options.heldout or world / "pretrain_heldout.jsonl", options.texts)
    engines = {kind: load_engine(folder, kind) for kind in options.kinds}
    rows: dict[str, dict[str, Any]] = {kind: {} for kind in options.kinds}
    for kind, engine in engines.items():
        rows[kind] |= {"megabytes": round(weight_bytes(engine) / 1e6, 2)}
        rows[kind] |= {"bits_per_byte": round(bits_per_byte(engine, texts), 4)}
        if not options.no_exam:
            rows[kind] |= {"exam": exam_scores(engine, folder, options.exam or world)}
        print(kind, json.dumps(rows[kind], ensure_ascii=False), flush=True)
    if not options.no_speed:
        for _ in range(options.rounds):
            for kind, engine in engines.items():
                speeds = rows[kind].setdefault("tokens_per_second", {})
                for batch in BATCHES:
                    speed = tokens_per_second(engine, texts, batch, options.tokens)
                    speeds[batch] = round(max(speeds.get(batch, 0.0), speed), 1)
    print_table(rows)
    print(json.dumps(result(folder, options.threads, rows), ensure_ascii=False))


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
            for kind, layer in (("int8", narrow), ("int4", narrower)):
                times[f"{kind} kernel"] = microseconds(partial(layer.by_kernel, x.bfloat16()))
                times[f"{kind} widened"] = microseconds(partial(layer.by_widening, x.bfloat16()))
            rows.append({"shape": list(weight.shape), "rows": count, **times})
            print(*weight.shape, count, *(f"{name} {taken:.0f}" for name, taken in times.items()), sep="  ")
    print(json.dumps({"name": "weights_kernels", "unit": "microseconds", "kernels": rows}))


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


def exam_scores(engine: Engine, folder: Path, exam: Path) -> dict[str, str]:
    """Right answers of all, by skill and form; the languages together."""
    taken = take_exam(engine, read_exam(exam), ExamSettings(form=prompt_form(folder)))
    counts: dict[str, list[int]] = {}
    for row in taken.rows():
        right, total = counts.setdefault(f"{row['skill']}.{row['form']}", [0, 0])
        counts[f"{row['skill']}.{row['form']}"] = [right + row["right"], total + row["total"]]
    right, total = (sum(column) for column in zip(*counts.values(), strict=True))
    return {name: f"{a}/{b}" for name, (a, b) in {"all": (right, total), **counts}.items()}


def tokens_per_second(engine: Engine, texts: Sequence[str], batch: int, tokens: int) -> float:
    """Speed of decoding some rows together, their prefill included in neither count nor time."""
    ids = [token for text in texts for token in engine.tokenizer.encode(text)][: batch * _PROMPT]
    prompts = [ids[start : start + _PROMPT] for start in range(0, batch * _PROMPT, _PROMPT)]
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


def weight_bytes(engine: Engine) -> int:
    """Memory of the weights, re-ordered copies included; tensors that share their memory count once."""
    sizes: dict[int, int] = {}
    for module in engine.model.modules():
        for tensor in [*module.parameters(recurse=False), *vars(module).values()]:
            if isinstance(tensor, torch.Tensor):
                key = id(tensor) if tensor.is_mkldnn else tensor.data_ptr()
                sizes[key] = tensor.numel() * tensor.element_size()
    return sum(sizes.values())


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """The kinds below each other."""
    for kind, row in rows.items():
        speeds = " ".join(f"{speed:9,.0f}" for speed in row.get("tokens_per_second", {}).values())
        exam = row.get("exam", {}).get("all", "")
        print(
            f"{kind:9s} {row['megabytes']:9.2f} MB {row['bits_per_byte']:7.4f} bits/byte {exam:>10s} {speeds}"
        )


def result(folder: Path, threads: int, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The last line: what the fastest kind at batch 1 gains over float32, and every row."""
    speeds = {kind: row["tokens_per_second"][1] for kind, row in rows.items() if "tokens_per_second" in row}
    line: dict[str, Any] = {"name": "weights", "unit": "tokens/s", "model": folder.name, "threads": threads}
    if "float32" in speeds:
        fastest = max(speeds, key=speeds.__getitem__)
        line |= {"value": speeds[fastest], "fastest": fastest, "peer": "float32"}
        line |= {"ratio": round(speeds[fastest] / speeds["float32"], 3)}
    return line | {"kinds": rows}


if __name__ == "__main__":
    main()
