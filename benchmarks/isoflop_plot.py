"""An IsoFLOP plot as one SVG file that stands alone: loss over size, a curve for each budget."""

import math
from collections.abc import Sequence
from typing import Any

from jielong.evaluation.plots import ticks
from jielong.training.planning import ScalingLaw

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 64, 120, 40, 56
COLOURS = ("#4477aa", "#228833", "#aa3377", "#bb5500", "#66ccee", "#666633")  # after Tol, tell apart in grey
STYLE = """
svg { font: 13px system-ui, "Noto Sans TC", sans-serif; background: #fff }
text { fill: #222 } .grid { stroke: #ddd } .best { stroke: #222; fill: none; stroke-dasharray: 4 3 }
"""


def draw(results: Sequence[dict[str, Any]], law: ScalingLaw) -> str:
    """Measured runs as dots, the law as curves, its optimum as a dashed line.

    Args:
        results: rows with flops, parameters, tokens and bits_per_byte.
        law: fitted to them.
    """
    sizes = [math.log10(row["parameters"]) for row in results]
    losses = [row["bits_per_byte"] for row in results]
    budgets = sorted({row["flops"] for row in results})
    low, high = min(sizes) - 0.12, max(sizes) + 0.12
    margin = 0.08 * (max(losses) - min(losses)) or 0.1
    bottom, top = min(losses) - margin, max(losses) + margin

    def place(size: float, loss: float) -> tuple[float, float]:
        x = LEFT + (size - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (loss - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)
        return x, y

    parts = [*_axes(place, (low, high), (bottom, top))]
    optima = []
    for number, flops in enumerate(budgets):
        colour = COLOURS[number % len(COLOURS)]
        rows = [row for row in results if row["flops"] == flops]
        # What a token costs beside 6 N (attention) differs by shape: the curve takes the runs' own mean.
        cost = sum(flops / row["tokens"] / row["parameters"] for row in rows) / len(rows)
        curve = [
            (size, law.loss(10**size, flops / cost / 10**size))
            for size in (low + step / 80 * (high - low) for step in range(81))
        ]
        inside = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in curve if point[1] <= top)
        parts.append(f'<polyline points="{inside}" fill="none" stroke="{colour}"/>')
        for row in rows:
            x, y = place(math.log10(row["parameters"]), row["bits_per_byte"])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        end = place(*curve[-1])
        parts.append(
            f'<text x="{WIDTH - RIGHT + 8}" y="{max(TOP, end[1]) + 4:.1f}" style="fill:{colour}">'
            f"{flops:.3g} FLOPs</text>"
        )
        best = min(curve, key=lambda point: point[1])
        optima += [best] if best not in (curve[0], curve[-1]) else []  # at an end it lies outside
    joined = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in optima)
    parts.append(f'<polyline class="best" points="{joined}"/>')
    return _svg(parts, law, len(results))


def _axes(place: Any, sizes: tuple[float, float], losses: tuple[float, float]) -> list[str]:
    parts = []
    for value in ticks(*losses):
        _, y = place(sizes[0], value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    marks = [digit * 10.0**power for power in range(4, 12) for digit in (1, 2, 5)]
    for size in (mark for mark in marks if sizes[0] <= math.log10(mark) <= sizes[1]):
        x, _ = place(math.log10(size), losses[0])
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        label = f"{size / 1e6:g} M"
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">參數 parameters</text>'
        f'<text x="{LEFT - 48}" y="{TOP - 14}">每位元組位元數 bits per byte, held out</text>'
    )
    return parts


def _svg(parts: Sequence[str], law: ScalingLaw, runs: int) -> str:
    title = (
        f"IsoFLOP: {runs} runs; L = {law.e:.3g} + {law.a:.4g} / N^{law.alpha:.3g} + {law.b:.4g} / "
        f"D^{law.beta:.3g}; dashed: the optimum at each budget"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
