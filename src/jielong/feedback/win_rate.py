"""Which of two models answers better, by the world's hidden judge, on prompts that none of them learned from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core.files import find_model
from jielong.data import Problems
from jielong.evaluation.intervals import wilson_interval
from jielong.feedback.prompts import Prompt, read_prompts
from jielong.generation import Engine, SamplingSettings, load_engine
from jielong.world.judge import Judgement, Rubric, judge

_SAME = 0.02
"""Scores so close are a tie."""


@dataclass(frozen=True)
class WinRate:
    """How often one model's answer was worth more than the other's."""

    wins: int
    ties: int
    losses: int

    @property
    def decided(self) -> float:
        """Share of wins among the prompts where one was better."""
        return self.wins / max(1, self.wins + self.losses)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of `decided`."""
        return wilson_interval(self.wins, self.wins + self.losses)

    def figures(self) -> dict[str, Any]:
        """For lineage and reports."""
        low, high = self.interval
        return {
            "wins": self.wins, "ties": self.ties, "losses": self.losses,
            "win_rate": round(self.decided, 4), "interval": [round(low, 4), round(high, 4)],
        }  # fmt: skip


def judged_answers(
    model: Path | Engine, prompts: Sequence[Prompt] | Sequence[Path], settings: SamplingSettings
) -> list[tuple[Prompt, str, Judgement]]:
    """One answer to each prompt, and what the judge thinks of it.

    Args:
        model: a folder, or an engine.
        prompts: of the built-in world, or their files.
        settings: how to sample; the same ones give both models the same rolls of the die.
    """
    engine = model if isinstance(model, Engine) else load_engine(find_model(model))
    if prompts and isinstance(prompts[0], Path):
        paths = [path for path in prompts if isinstance(path, Path)]
        longest = engine.context_length - settings.max_tokens
        chosen: Sequence[Prompt] = read_prompts(paths, engine.tokenizer, longest, Problems())
    else:
        chosen = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
    done = engine.generate([prompt.ids for prompt in chosen], settings)
    return [
        (prompt, one.text, judge(Rubric.from_row(dict(prompt.row)), one.text))
        for prompt, one in zip(chosen, done, strict=True)
    ]


def win_rate(ours: Sequence[Judgement], theirs: Sequence[Judgement], side: str = "both") -> WinRate:
    """Compare judgements of answers to the same prompts.

    Args:
        ours: of one model.
        theirs: of the other, in the same order.
        side: helpful, safe, or both: their product.
    """
    found = Counter(
        _sign(_value(one, side) - _value(other, side)) for one, other in zip(ours, theirs, strict=True)
    )
    return WinRate(found[1], found[0], found[-1])


def _value(judgement: Judgement, side: str) -> float:
    if side == "both":
        return judgement.helpful * judgement.safe
    return float(getattr(judgement, side))


def _sign(difference: float) -> int:
    return 0 if abs(difference) <= _SAME else (1 if difference > 0 else -1)
