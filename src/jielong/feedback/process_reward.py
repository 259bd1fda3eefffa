"""Process reward models: is an answer right up to the end of each of its steps?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jielong.core.files import to_json, write_atomically
from jielong.evaluation.intervals import wilson_interval
from jielong.feedback.answers import AnswerInputs, pack_answers, token_scores, without_gradient
from jielong.feedback.objectives.masked import Statistics
from jielong.feedback.objectives.reward import step_reward_loss
from jielong.feedback.shuffled import ShuffledBatches
from jielong.feedback.token_rows import TokenSteps
from jielong.models import Transformer
from jielong.training.batches import Batch


class StepBatches(ShuffledBatches[TokenSteps]):
    """Draws micro-batches of answers in steps."""

    def draw(
        self, number: int, device: torch.device, share: slice = slice(None)
    ) -> Batch[tuple[Tensor, ...]]:
        """The answers `share` of micro-batch `number`, of which step ends count, and labels [B, S]."""
        answers = self.items_of(number)[share]
        inputs = pack_answers([answer.row for answer in answers], self.pad, device)
        labels = torch.zeros(inputs.mask.shape)
        for row, answer in zip(labels, answers, strict=True):
            row[: len(answer.labels)] = torch.tensor(answer.labels, dtype=torch.float32)
        steps = sum(len(answer.labels) for answer in answers)
        return Batch((*inputs, labels.to(device)), steps, int((inputs.segments > 0).sum()))


def step_objective(model: Transformer, *inputs: Tensor) -> tuple[Tensor, Statistics]:
    """Sum of the losses of all steps of a micro-batch, with their statistics.

    Args:
        model: with a head that scores.
        inputs: what `StepBatches` draws.
    """
    *given, labels = inputs
    answers = AnswerInputs(*given)
    return step_reward_loss(token_scores(model, answers), labels, answers.mask, normalizer=1.0)


@dataclass(frozen=True)
class StepReport:
    """What was measured on held-out answers in steps."""

    answers: int
    steps: int
    right_steps: float
    """Share of the steps that are right: what always saying so would reach."""
    step_accuracy: float
    interval: tuple[float, float]
    """95 % Wilson interval of it, as if steps were independent."""
    first_error_found: float | None
    """Of answers with a mistake: how often the first step that looks wrong is the first that is."""
    whole_answers_passed: float | None
    """Of answers without one: how often no step looks wrong."""
    f1: float | None
    """Harmonic mean of both (ProcessBench, arXiv 2412.06559); trust or distrust alone does not raise it."""

    def figures(self) -> dict[str, Any]:
        """All figures, rounded, for people and lineage."""
        rounded = {name: round(value, 4) for name, value in asdict(self).items() if isinstance(value, float)}
        return {**asdict(self), **rounded, "interval": [round(bound, 4) for bound in self.interval]}

    def write(self, folder: Path) -> None:
        """Write `report.json` into a run folder."""
        write_atomically(folder / "report.json", to_json(asdict(self)))


def measure_steps(
    model: Transformer, answers: Sequence[TokenSteps], pad: int, dtype: torch.dtype = torch.float32
) -> StepReport:
    """Score every step of every answer and compare with its label.

    Args:
        model: in evaluation mode, with a head that scores.
        answers: held out.
        pad: the token that fills rows up.
        dtype: of the computation.
    """
    device = next(model.parameters()).device
    rows = [answer.row for answer in answers]
    found = without_gradient(lambda inputs: token_scores(model, inputs), rows, pad, device, dtype)
    return report_of_steps(
        [(scores > 0).tolist() for scores in found], [list(answer.labels) for answer in answers]
    )


def report_of_steps(judged: Sequence[Sequence[bool]], labels: Sequence[Sequence[bool]]) -> StepReport:
    """Work the figures out.

    Args:
        judged: by answer and step, whether it looks right.
        labels: by answer and step, whether it is.
    """
    pairs = [(j, w) for one, two in zip(judged, labels, strict=True) for j, w in zip(one, two, strict=True)]
    right = sum(j == w for j, w in pairs)
    places = [(_first_error(one), _first_error(two)) for one, two in zip(judged, labels, strict=True)]
    found = [looks == is_ for looks, is_ in places if is_ is not None]
    passed = [looks is None for looks, is_ in places if is_ is None]
    error, whole = (float(np.mean(hits)) if hits else None for hits in (found, passed))
    f1 = None if error is None or whole is None else 2 * error * whole / max(error + whole, 1e-12)
    return StepReport(
        answers=len(labels),
        steps=len(pairs),
        right_steps=sum(w for _, w in pairs) / max(len(pairs), 1),
        step_accuracy=right / max(len(pairs), 1),
        interval=wilson_interval(right, len(pairs)),
        first_error_found=error,
        whole_answers_passed=whole,
        f1=f1,
    )


def _first_error(steps: Sequence[bool]) -> int | None:
    return next((place for place, right in enumerate(steps) if not right), None)
