"""What `jielong plan` says about a plan, in Traditional Chinese and in English."""

from typing import TYPE_CHECKING

from jielong.core.progress import format_seconds

if TYPE_CHECKING:
    from jielong.training.planning import ComputePlan

Row = tuple[tuple[str, str], str]


def plan_rows(plan: "ComputePlan", zh: bool) -> list[Row]:
    """Rows of (names, value) for a plan."""
    memory = plan.memory
    parts = (
        (("權重", "weights"), memory.weights),
        (("梯度", "gradients"), memory.gradients),
        (("最佳化器", "optimizer"), memory.optimizer),
        (("活化值", "activations"), memory.activations),
    )
    held = ", ".join(f"{names[not zh]} {_size(value)}" for names, value in parts)
    compiled = ("，編譯", ", compiled") if plan.compiled else ("，不編譯", ", not compiled")
    per = ("每個參數", "a parameter")[not zh]
    return [
        (
            ("形狀", "shape"),
            f"{plan.width} × {plan.layers}" + ("（寬 × 層）" if zh else " (width x layers)"),
        ),
        (("參數", "parameters"), _count(plan.parameters)),
        (("token", "tokens"), f"{_count(plan.tokens)} ({plan.tokens_per_parameter:.3g} {per})"),
        (("運算量", "FLOPs"), f"{plan.flops:.3g}"),
        (("預期損失", "expected loss"), _loss(plan, zh)),
        (
            ("時間", "time"),
            f"{format_seconds(plan.seconds)} ({plan.tokens_per_second:,.0f} tokens/s{compiled[not zh]})",
        ),
        (("記憶體", "memory"), f"{_size(memory.total)} ({held})"),
        (("理由", "reason"), plan.reason[not zh]),
        (("依據", "law"), _law(plan, zh)),
        (
            ("Chinchilla 原常數", "Chinchilla's own constants"),
            f"{_count(plan.chinchilla[0])} × {_count(plan.chinchilla[1])} tokens",
        ),
    ]


def _loss(plan: "ComputePlan", zh: bool) -> str:
    if plan.law.covers(plan.parameters, beyond=10):
        return f"{plan.loss:.3f} {plan.law.unit}"
    return "未知：離擬合用的模型太遠" if zh else "not known: too far from the networks of the law"


def _law(plan: "ComputePlan", zh: bool) -> str:
    law = plan.law
    text = f"L = {law.e:.3g} + {law.a:.4g} / N^{law.alpha:.3g} + {law.b:.4g} / D^{law.beta:.3g}; {law.source}"
    if law.unit != "bits/byte":
        text += (
            "；這是公布的常數，本專案的擬合還不在；損失是別的文字、別的詞表的"
            if zh
            else "; published constants, since the fit on this project's data is not there: "
            "the loss is that of other text and another vocabulary"
        )
    if not law.covers(plan.parameters):
        low, high = (_count(size) for size in law.sizes)
        text += (
            f"；擬合用的模型有 {low}–{high} 個參數，此處是外插"
            if zh
            else f"; extrapolated: its networks had {low} to {high} parameters"
        )
    return text


def _count(number: float) -> str:
    """A large number as people write it: 5.6 M."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:,.3g} {unit}"
    return f"{number:,.3g}"


def _size(number: float) -> str:
    """Bytes as people write them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:,.3g} {unit}"
    return f"{number / 1e3:,.3g} kB"
