"""`jielong plan`: what this machine can do, and how large a network to train with it."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from jielong.cli.manners import Json
from jielong.core.errors import UsageError
from jielong.core.files import to_json
from jielong.core.language import interface_language

if TYPE_CHECKING:
    from jielong.training.planning import Budget

_PRODUCTS = {
    "square": ("大方陣", "large, square"),
    "mlp": ("MLP 上投影", "MLP, up"),
    "down": ("MLP 下投影", "MLP, down"),
    "weights": ("MLP 權重的梯度", "gradient of the MLP's weights"),
    "head": ("輸出層", "output head"),
}


def plan(
    *,
    machine: Annotated[bool, Parameter(negative=())] = False,
    minutes: float | None = None,
    flops: str | None = None,
    params: str | None = None,
    tokens: str | None = None,
    vocab_size: int = 4096,
    context: int = 256,
    batch_rows: int = 32,
    seconds: float = 6.0,
    json: Json = False,
) -> None:
    """Measure this machine (a few seconds), and choose size and tokens for a budget.

    Give --machine, or one of --minutes, --flops, --tokens, or --params; --params may go with one of them.
    Numbers may end in k, M, G, B or T: 5.6M, 2e15.

    Args:
        machine: print the machine's limits: matrix multiplication, memory bandwidth, a real training step.
        minutes: time for training, compiling included.
        flops: floating-point operations for training.
        params: weights of the network; the nearest shape is taken.
        tokens: tokens to read, each of them new.
        vocab_size: size of the tokenizer's vocabulary.
        context: tokens in a row.
        batch_rows: rows of a micro-batch, for the memory.
        seconds: how long to measure this machine, about.
        json: print the result as JSON.
    """
    from jielong.training.planning import Budget, parse_count

    if machine:
        if any(value is not None for value in (minutes, flops, params, tokens)):
            raise UsageError("--machine only measures; call plan once more for a size")
        _show_machine(seconds, json)
        return
    counts = [
        None if text is None else parse_count(text, option)
        for text, option in ((flops, "--flops"), (params, "--params"), (tokens, "--tokens"))
    ]
    training = {"minutes": 1, "context": context, "batch_rows": batch_rows}
    _show_plan(Budget(minutes, *counts), vocab_size, training, seconds, json)


def _show_machine(seconds: float, json: bool) -> None:
    from jielong.training.planning import measure_limits

    limits = measure_limits(seconds)
    if json:
        print(to_json(limits.to_dict()), end="")
        return
    zh = interface_language() == "zh"
    table = Table(box=None, pad_edge=False)
    table.add_column("矩陣乘法" if zh else "matrix multiplication")
    table.add_column("m × n × k", justify="right")
    for precision in ("bfloat16", "float32"):
        table.add_column(f"{precision} GFLOP/s", justify="right")
    by_name = {(rate.name, rate.precision): rate for rate in limits.matmul}
    for name, words in _PRODUCTS.items():
        half, full = by_name[name, "bfloat16"], by_name[name, "float32"]
        shape = f"{half.m} × {half.n} × {half.k}"
        table.add_row(words[not zh], shape, f"{half.flops / 1e9:,.0f}", f"{full.flops / 1e9:,.0f}")
    speed = limits.training
    share, stated = f"{limits.training_share:.0%}", limits.data_sheet_flops
    rows = [
        (("裝置", "device"), f"{limits.name} ({limits.device})"),
        (("執行緒", "threads"), str(limits.threads)),
        (("訓練精度", "training precision"), limits.precision),
        (
            ("記憶體頻寬", "memory bandwidth"),
            f"copy {limits.copy_bytes / 1e9:,.1f} GB/s, triad {limits.triad_bytes / 1e9:,.1f} GB/s",
        ),
        (
            ("訓練（未編譯）", "training, uncompiled"),
            f"{speed.flops / 1e9:,.1f} GFLOP/s"
            + (f"，矩陣乘法極限的 {share}" if zh else f", {share} of the matmul limit"),
        ),
    ]
    if stated is not None:
        rows.append((("規格", "data sheet"), f"bfloat16 {stated / 1e12:,.0f} TFLOP/s"))
    console = Console(highlight=False)
    console.print(_pairs(rows, zh))
    console.print(table)


def _show_plan(
    budget: "Budget", vocab_size: int, settings: dict[str, Any], seconds: float, json: bool
) -> None:
    from jielong.training.planning import best_law, measure_training_speed, plan_compute
    from jielong.training.precision import choose_device, choose_precision
    from jielong.training.settings import TrainingSettings

    training = TrainingSettings.parse(settings)
    device = choose_device("auto")
    speed = measure_training_speed(
        vocab_size, training.context, device, choose_precision("auto", device), seconds / 2
    )
    chosen = plan_compute(budget, speed, best_law(), vocab_size, training)
    if json:
        print(to_json(chosen.to_dict()), end="")
        return
    from jielong.cli.plan_texts import plan_rows

    zh = interface_language() == "zh"
    Console(highlight=False).print(_pairs(plan_rows(chosen, zh), zh))


def _pairs(rows: list[tuple[tuple[str, str], str]], zh: bool) -> Table:
    """Names and values side by side."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for words, value in rows:
        table.add_row(words[not zh], value)
    return table
