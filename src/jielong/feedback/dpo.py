"""Learning from preferences without a reward model: DPO, IPO, KTO, ORPO and SimPO on one batch of pairs."""

import copy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from jielong.core.files import find_model
from jielong.data import Problems
from jielong.feedback.answers import AnswerInputs, answer_logprobs
from jielong.feedback.objectives.masked import Statistics, sum_by_row
from jielong.feedback.objectives.preference import (
    dpo_loss,
    ipo_loss,
    kto_loss,
    kto_reference_point,
    orpo_loss,
    simpo_loss,
)
from jielong.feedback.pairs import PairBatches, pack_pairs
from jielong.feedback.preference_pairs import read_pairs
from jielong.feedback.settings import PreferenceSettings
from jielong.feedback.token_rows import TokenRow
from jielong.models import Transformer
from jielong.training.batches import Batch
from jielong.training.distributed import main_first
from jielong.training.precision import choose_device, choose_precision
from jielong.training.stage import Stage, StageResult, load_parent, run_folder, run_stage

_NEED_REFERENCE = ("dpo", "ipo", "kto")
_FIELDS = len(AnswerInputs._fields)


class ReferencedPairs(PairBatches):
    """Pairs with the log-probabilities that a reference model gives to their answers.

    They are computed when a batch is drawn, so a batch still follows from its number alone.
    """

    on_policy = True  # not for the weights, but so that two networks do not compute side by side
    reference: Transformer
    dtype: torch.dtype

    mismatched = False
    """Whether to draw the same answers to other prompts too, as KTO's reference point needs them."""

    def draw(self, number: int, device: torch.device, share: slice = slice(None)) -> Batch[tuple[Tensor, ...]]:
        """The answers of P pairs and the reference's log-probabilities [2 P] of them, perhaps twice."""
        pairs = self.pairs_of(number, share)
        inputs = self._with_reference(pack_pairs(pairs, self.pad, device))
        tokens = int((inputs[2] > 0).sum())
        if self.mismatched:
            others = [
                replace(
                    pair,
                    chosen=_after(pairs[place - 1].chosen, pair.chosen),
                    rejected=_after(pairs[place - 1].rejected, pair.rejected),
                )
                for place, pair in enumerate(pairs)
            ]
            inputs = (*inputs, *self._with_reference(pack_pairs(others, self.pad, device)))
        return Batch(inputs, len(pairs), tokens)

    def _with_reference(self, inputs: AnswerInputs) -> tuple[Tensor, ...]:
        device = inputs.tokens.device
        with torch.no_grad(), torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            return *inputs, _sums(self.reference.to(device), inputs)


def run_preference_learning(
    settings: PreferenceSettings, resume: bool = False, quiet: bool = False, force: bool = False
) -> StageResult:
    """Read comparisons, make the chosen answers likelier than the rejected ones, and write `out/model`.

    Args:
        settings: the recipe.
        resume: go on from the newest checkpoint of `out`.
        quiet: no progress on standard error.
        force: resume though recipe or data changed, or begin anew over an unfinished run.

    Raises:
        JielongError: no usable comparison, or training failed.
    """
    with run_folder(settings, settings.out, resume, force):
        with main_first():
            stage = preference_stage(settings)
        return run_stage(stage, settings, resume, quiet, force)


def preference_stage(settings: PreferenceSettings) -> Stage:
    parent = find_model(settings.parent)
    model, tokenizer = load_parent(parent)
    problems, training = Problems(), settings.training
    pairs, heldout = read_pairs(
        settings.data, (), tokenizer, context=training.context, heldout_share=settings.heldout_share,
        seed=settings.seed, problems=problems,
    )  # fmt: skip
    batches = PairBatches(pairs, training.batch_rows, settings.seed, tokenizer.pad_id)
    if settings.loss in _NEED_REFERENCE:
        batches = ReferencedPairs(pairs, training.batch_rows, settings.seed, tokenizer.pad_id)
        batches.mismatched = settings.loss == "kto"
        batches.reference = copy.deepcopy(model).eval().requires_grad_(False)
        batches.dtype = choose_precision(training.precision, choose_device(training.device))
    return Stage(
        name=settings.loss,
        title=settings.loss.upper(),
        model=model,
        tokenizer=tokenizer,
        batches=batches,
        objective=partial(preference_objective, settings),
        data=[{"name": "data", "documents": len(pairs), "sha256": batches.fingerprint}],
        problems=problems,
        paths=settings.data,
        parent=parent,
        temperature=0.3,
    )


def preference_objective(
    settings: PreferenceSettings, model: Transformer, *inputs: Tensor
) -> tuple[Tensor, Statistics]:
    """Sum of the losses of P pairs, with their statistics.

    Args:
        settings: the loss and its constants.
        model: the policy.
        inputs: what `ReferencedPairs` draws, or `PairBatches` where no reference is needed.
    """
    answers = AnswerInputs(*inputs[:_FIELDS])
    sums = _sums(model, answers)
    if settings.loss in ("orpo", "simpo"):
        means = (sums / answers.mask.sum(-1)).chunk(2)
        if settings.loss == "simpo":
            return simpo_loss(*means, beta=settings.beta, gamma=settings.gamma, normalizer=1.0)
        return orpo_loss(*means, weight=settings.beta, normalizer=1.0)
    reference = inputs[_FIELDS]
    if settings.loss == "kto":
        return _kto(settings, model, sums, reference, inputs[_FIELDS + 1 :])
    both = (*sums.chunk(2), *reference.chunk(2))
    if settings.loss == "ipo":
        return ipo_loss(*both, tau=settings.beta, normalizer=1.0)
    return dpo_loss(*both, beta=settings.beta, label_smoothing=settings.label_smoothing, normalizer=1.0)


def _kto(
    settings: PreferenceSettings, model: Transformer, sums: Tensor, reference: Tensor, others: tuple[Tensor, ...]
) -> tuple[Tensor, Statistics]:
    """Every chosen answer is a thumb up, every rejected one a thumb down; a pair is two halves."""
    with torch.no_grad():
        elsewhere = _sums(model, AnswerInputs(*others[:_FIELDS]))
    desirable = torch.arange(len(sums), device=sums.device) < len(sums) // 2
    point = kto_reference_point(elsewhere, others[_FIELDS])
    return kto_loss(sums, reference, desirable, point, beta=settings.beta, normalizer=2.0)


def _after(other: TokenRow, row: TokenRow) -> TokenRow:
    """A row's answer after another row's prompt."""
    prompt, begin = other.ids[: other.counted.index(True)], row.counted.index(True)
    return TokenRow([*prompt, *row.ids[begin:]], [*[False] * len(prompt), *row.counted[begin:]])


def _sums(model: Transformer, answers: AnswerInputs) -> Tensor:
    """Log-probabilities [B] of whole answers."""
    return sum_by_row(answer_logprobs(model, answers)[0], answers.mask)
