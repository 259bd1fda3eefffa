"""Tail averaging: the final model is the mean of the weights over the last steps."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from jielong.core.errors import UsageError
from jielong.training.schedule import Plans, decay_begins, planned_total
from jielong.training.settings import AverageSettings, TrainingSettings


class TailAverage:
    """Exponential moving average of a model's weights over the tail of a run.

    The first step of the tail sets the average to its weights; every later one moves it:
    average = decay * average + (1 - decay) * weights. With a decay of 0 nothing is kept.
    """

    def __init__(self, model: nn.Module, settings: TrainingSettings) -> None:
        average, decay = settings.average, settings.schedule
        falling = 0.0 if decay.kind == "constant" else decay.decay
        if average.decay and settings.minutes is not None and average.tail > falling:
            raise UsageError(
                f"training.average.tail is {average.tail:g}, but a run with a time budget knows its end only "
                f"when the learning rate falls, the last {falling:g} of it; give steps, or a shorter tail"
            )
        self._settings = average
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._move = get_ema_multi_avg_fn(average.decay)  # type: ignore[no-untyped-call]
        self.tensors: dict[str, Tensor] = {}
        """The average by name of the weight; empty before the tail."""

    @torch.no_grad()
    def update(self, step: int, plans: Plans) -> None:
        """Take in the weights after step `step` (0-based) of a run of that length."""
        if not self.tensors:
            total = planned_total(step, plans)
            if total is None or step < _tail_begins(total, self._settings):
                return
            self.tensors = {name: weight.detach().clone() for name, weight in self._weights.items()}
            return
        current = [self._weights[name].detach() for name in self.tensors]
        self._move(list(self.tensors.values()), current, 1)

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over the average of a checkpoint."""
        self.tensors = {name: tensor.to(self._weights[name].device) for name, tensor in tensors.items()}

    @torch.no_grad()
    def put_into_model(self) -> None:
        """Give the model the averaged weights, where there are any."""
        for name, tensor in self.tensors.items():
            self._weights[name].copy_(tensor)


def first_that_depends_on_length(plans: Plans, settings: TrainingSettings) -> int:
    """The first step (0-based) in which a run of that length differs from a longer one.

    Up to there the rate has not begun to fall and nothing is averaged: a checkpoint of this step, or an
    earlier one, can become a run of any greater length.
    """
    return min(decay_begins(plans, settings.schedule), _tail_begins(plans[0][1], settings.average))


def _tail_begins(total: int, settings: AverageSettings) -> int:
    """Steps before the averaged tail of a run; all of them when averaging is off."""
    return total - (round(settings.tail * total) if settings.decay else 0)
