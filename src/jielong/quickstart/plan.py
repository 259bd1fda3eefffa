"""How large a network to train in the minutes given, decided by measuring this machine."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from jielong.data import Packed
from jielong.models import ModelConfig, Transformer, count_parameters, flops_per_token, qwen3_config
from jielong.training.batches import make_batch
from jielong.training.losses import next_token_loss
from jielong.training.optimizer import build_optimizers
from jielong.training.precision import can_compile
from jielong.training.settings import OptimizerSettings

SHAPES = (
    (64, 2), (64, 4), (128, 3), (128, 4), (192, 4), (192, 6), (256, 4), (256, 6), (320, 6), (384, 6),
    (384, 8), (512, 8), (640, 10), (768, 12), (1024, 16),
)  # fmt: skip
"""Widths and layers to choose from, smallest first."""

TOKENS_PER_PARAMETER = 0.5
"""Tokens that a network should see for each of its weights. Chinchilla's 20 (arXiv 2203.15556, table 3) is
for one pass over fresh web text; docs/benchmarks.md has the runs that led to this value."""

COMPILE_GAIN = 1.8
"""How much faster a compiled step is, measured on 2 CPU cores (docs/benchmarks.md)."""


@dataclass(frozen=True)
class Plan:
    """What will be trained, and why."""

    width: int
    layers: int
    parameters: int
    pretrain_seconds: float
    sft_seconds: float
    compile: bool
    tokens_per_second: float
    tokens: float
    passes: float
    reasons: dict[str, tuple[str, str]]
    """Why, by decision (size, speed, tokens, sft), in Traditional Chinese and in English."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for reports."""
        return asdict(self)


@dataclass(frozen=True)
class Machine:
    """Speed of this machine at training, as measured."""

    flops: float
    """Useful floating-point operations a second in an eager training step (6 N D, and attention)."""
    precision: str
    device: str
    compiles: bool
    """Whether steps can be compiled here."""

    def tokens_per_second(self, config: ModelConfig, context: int, compiled: bool) -> float:
        """Predicted training speed of a network."""
        return self.flops * (COMPILE_GAIN if compiled else 1.0) / flops_per_token(config, context)


def measure_machine(
    packed: Packed,
    vocab_size: int,
    context: int,
    device: torch.device,
    dtype: torch.dtype,
    seconds: float = 4.0,
) -> Machine:
    """Time real training steps of a middle-sized network for a few seconds."""
    config = qwen3_config(192, 4, vocab_size, context)
    model = Transformer(config).to(device)
    optimizers = build_optimizers(model, OptimizerSettings())
    rows = np.arange(min(16, len(packed.tokens)))
    batch = make_batch(packed, rows, device)
    times: list[float] = []
    began = time.monotonic()
    while time.monotonic() - began < seconds or len(times) < 2:
        start = time.monotonic()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = next_token_loss(model, batch.tokens, batch.positions, batch.segments, batch.targets)
        torch.autograd.backward(loss / batch.learned)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        loss.item()
        times.append(time.monotonic() - start)
    typical = float(np.median(times[1:]))
    operations = flops_per_token(config, context) * len(rows) * context
    precision = "bfloat16" if dtype == torch.bfloat16 else "float32"
    return Machine(operations / typical, precision, device.type, can_compile(device))


def choose_plan(
    machine: Machine,
    vocab_size: int,
    context: int,
    tokens_in_data: int,
    pretrain_seconds: float,
    sft_seconds: float,
    compile_seconds: float,
    shape: tuple[int, int] | None = None,
) -> Plan:
    """The largest network that still sees enough tokens in the time for pretraining.

    Args:
        machine: measured speed.
        vocab_size: rows of the embedding.
        context: tokens in a row.
        tokens_in_data: tokens of one pass over the training text.
        pretrain_seconds: wall-clock time for pretraining, compiling included.
        sft_seconds: wall-clock time for fine-tuning.
        compile_seconds: what compiling costs on this machine.
        shape: (width, layers) that the user wants, instead of a choice.
    """
    compiled = machine.compiles and pretrain_seconds * (1 - 1 / COMPILE_GAIN) > compile_seconds * 2
    seconds = pretrain_seconds - (compile_seconds if compiled else 0)

    def tokens(candidate: tuple[int, int]) -> float:
        return machine.tokens_per_second(config(candidate), context, compiled) * seconds

    def config(candidate: tuple[int, int]) -> ModelConfig:
        return qwen3_config(*candidate, vocab_size, context)

    enough = [
        candidate
        for candidate in SHAPES
        if tokens(candidate) >= TOKENS_PER_PARAMETER * count_parameters(config(candidate))
    ]
    chosen = shape or (enough[-1] if enough else SHAPES[0])
    seen = tokens(chosen)
    parameters = count_parameters(config(chosen))
    rate = machine.tokens_per_second(config(chosen), context, compiled)
    passes = seen / max(1, tokens_in_data)
    return Plan(
        *chosen,
        parameters,
        pretrain_seconds,
        sft_seconds,
        compiled,
        rate,
        seen,
        passes,
        _reasons(
            machine,
            parameters,
            rate,
            seen,
            passes,
            (pretrain_seconds, sft_seconds),
            compiled,
            shape is not None,
        ),
    )


def _reasons(
    machine: Machine,
    parameters: int,
    rate: float,
    tokens: float,
    passes: float,
    seconds: tuple[float, float],
    compiled: bool,
    wished: bool,
) -> dict[str, tuple[str, str]]:
    millions, ratio = f"{parameters / 1e6:.1f} M", f"{TOKENS_PER_PARAMETER:g}"
    measured = f"{machine.flops / 1e9:,.0f} GFLOP/s ({machine.device}, {machine.precision})"
    gain_zh = f"，編譯後約快 {COMPILE_GAIN:g} 倍" if compiled else ""
    gain_en = f", about {COMPILE_GAIN:g} times that compiled" if compiled else ""
    size = (f"{millions} 個參數，依你的指定", f"{millions} parameters, as you asked")
    if not wished:
        size = (
            f"{millions} 個參數：時間內每個參數還能讀到 {ratio} 個 token 的最大模型",
            f"{millions} parameters: the largest network that reads {ratio} tokens a parameter in the time",
        )
    pretrain, sft = (f"{part / 60:.1f}" for part in seconds)
    return {
        "size": size,
        "speed": (
            f"實測訓練速度 {measured}{gain_zh}，約每秒 {rate:,.0f} 個 token",
            f"measured: training runs at {measured}{gain_en}, about {rate:,.0f} tokens/s",
        ),
        "tokens": (
            f"預訓練 {pretrain} 分鐘，約 {tokens / 1e6:.1f} M 個 token，資料讀 {passes:.1f} 遍",
            f"{pretrain} min of pretraining: about {tokens / 1e6:.1f} M tokens, {passes:.1f} passes",
        ),
        "sft": (
            f"指令微調 {sft} 分鐘，其餘留給考試與成績單",
            f"{sft} min of instruction tuning; the rest is for the exam and the report card",
        ),
    }
