"""Bad steps: losses and gradients that would ruin the weights are noticed before they touch them."""

import math
from dataclasses import dataclass

from torch import nn

from jielong.training.distributed import sum_of_all
from jielong.training.parallel import own_share
from jielong.training.settings import TrainingSettings

_DIVERGED_BY = 2.0  # nats above the first loss
_MEMORY = 0.02  # share of the newest step in the running statistics: a window of some 50 steps
_SEEN_ENOUGH = 32  # good steps before a spike can be told from the usual
_LEAST_DEVIATION = 0.15  # of ln(norm), so that a very calm run does not take 10 % more for a spike


@dataclass
class Health:
    """Running statistics of loss and gradient norm, and the count of skipped steps. Part of every checkpoint.

    A spike is a gradient norm `spike` standard deviations above its running mean. Mean and variance are
    exponential ones, as in ZClip (arXiv 2504.02507, section 3), of the logarithm of the norm: norms are
    positive, and their spread grows with their size. The step is left out as a whole, as OLMo-core's
    SkipStepOptimizer does, whose six deviations are the default here.
    """

    first_loss: float | None = None
    """Loss of the first good step, in nats, against which divergence is judged."""
    smooth_loss: float | None = None
    """Exponential mean of the loss."""
    mean: float = 0.0
    """Of ln(gradient norm)."""
    variance: float = 0.0
    good: int = 0
    """Steps that were taken."""
    skipped: int = 0
    """Steps that were left out."""
    in_a_row: int = 0
    """Steps that were left out since the last good one."""
    must_stop: bool = False
    """Whether the last step was worse than the settings bear."""

    def judge(self, loss: float, norm: float, settings: TrainingSettings) -> str | None:
        """Take in a step: why it must not change the weights, or None when it is good.

        Args:
            loss: mean loss of the step, in nats.
            norm: length of its gradient before clipping.
            settings: `on_bad_step`, `spike`, `max_skipped`. Unless bad steps are skipped, spikes pass:
                clipping shortens them.
        """
        skipping = settings.on_bad_step == "skip"
        bad = self._fault(loss, norm, settings.spike if skipping else math.inf)
        if bad is None:
            first, smooth = self._take(loss, norm)
            self.must_stop = smooth > first + _DIVERGED_BY
            return f"the loss rose from {first:.2f} to {smooth:.2f}" if self.must_stop else None
        self.skipped += 1
        self.in_a_row += 1
        self.must_stop = not skipping or self.in_a_row > settings.max_skipped
        return f"{bad}, in {self.in_a_row} steps in a row" if self.must_stop and skipping else bad

    def _fault(self, loss: float, norm: float, spike: float) -> str | None:
        if not math.isfinite(loss):
            return "the loss is not finite"
        if not math.isfinite(norm):
            return "the gradient is not finite"
        if self.good < _SEEN_ENOUGH:
            return None
        deviation = max(math.sqrt(self.variance), _LEAST_DEVIATION)
        if _log(norm) <= self.mean + spike * deviation:
            return None
        return f"the gradient norm {norm:.3g} is a spike ({math.exp(self.mean):.3g} is usual)"

    def _take(self, loss: float, norm: float) -> tuple[float, float]:
        """Count a good step; returns the first and the smoothed loss."""
        first = loss if self.first_loss is None else self.first_loss
        smooth = loss if self.smooth_loss is None else 0.95 * self.smooth_loss + 0.05 * loss
        self.first_loss, self.smooth_loss = first, smooth
        self.good += 1
        share = max(1 / self.good, _MEMORY)
        change = _log(norm) - self.mean
        self.mean += share * change
        self.variance = (1 - share) * (self.variance + share * change * change)
        self.in_a_row = 0
        return first, smooth


def broken_weight(model: nn.Module) -> str | None:
    """The name of a weight that is not finite, or None when all are; every process must call this."""
    weights = dict(model.named_parameters())
    # A sharded weight may be broken in the share of one process only.
    broken = sum_of_all(
        *(not bool(own_share(weight.detach()).isfinite().all()) for weight in weights.values())
    )
    return next((name for name, count in zip(weights, broken, strict=True) if count), None)


def _log(norm: float) -> float:
    return math.log(max(norm, 1e-30))
