"""On-policy distillation: the student answers, and learns a teacher's distribution at each of its tokens."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from jielong.core.errors import JielongError, UsageError
from jielong.core.files import find_model
from jielong.data import Problems
from jielong.feedback.answers import hidden_before, pack_answers, split_inputs
from jielong.feedback.objectives.distillation import Head, distillation_loss
from jielong.feedback.objectives.masked import Statistics, tally
from jielong.feedback.prompts import Prompt, fingerprint, read_prompts
from jielong.feedback.rewards import Answer
from jielong.feedback.rollouts import EngineRollouts, RolledBatches
from jielong.feedback.settings import DistillSettings
from jielong.models import Transformer
from jielong.training.batches import Batch
from jielong.training.precision import choose_device, choose_precision, computing_in
from jielong.training.sft import answer_prompts
from jielong.training.stage import Stage, StageResult, load_parent, train_stage

_SHOWN_PROMPTS = 4


class AnswerBatches(RolledBatches):
    """Draws micro-batches of answers, given with the weights of that moment, and what a teacher sees in them.

    As in reinforcement learning a rollout belongs to `period` steps, between which the run stops and resumes.

    Args:
        settings: the recipe.
        answerer: the network that answers: the student as it is trained, or the teacher.
        teacher: whose distributions are learned.
        prompts: to draw from.
        backend: how answers are made.
        pad: the token that fills rows up.
        dtype: of the computation.
    """

    exhausted = False

    def __init__(
        self,
        settings: DistillSettings,
        answerer: Transformer,
        teacher: Transformer,
        prompts: Sequence[Prompt],
        backend: EngineRollouts,
        pad: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(settings, prompts, backend)
        self.settings = settings
        self.answerer = answerer
        self.teacher = teacher
        self.pad = pad
        self.dtype = dtype
        self._number = -1
        self._answers: list[Answer] = []

    def state(self) -> dict[str, Tensor]:
        """Nothing: a rollout follows from the weights and its number."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to do."""

    def draw(
        self, number: int, device: torch.device, share: slice = slice(None)
    ) -> Batch[tuple[Tensor, ...]]:
        """This process's answers of a micro-batch, and the teacher's hidden states [B, A, D'] before them."""
        rollout, place = divmod(number, self._micro_batches)
        if rollout != self._number:
            _, self._answers = self.answers_of(self.answerer, rollout)
            self._number = rollout
        count = len(range(*share.indices(self.settings.training.batch_rows)))
        answers = self._answers[place * count : (place + 1) * count]
        inputs = pack_answers([answer.token_row for answer in answers], self.pad, device)
        autocast = computing_in(self.dtype, device)
        with torch.no_grad(), autocast:
            seen = hidden_before(self.teacher, inputs)
        return Batch((*inputs, seen), float(inputs.mask.sum()), int((inputs.segments > 0).sum()))


def distill_objective(
    settings: DistillSettings, teacher_head: Head, tokens: int, student: Transformer, *inputs: Tensor
) -> tuple[Tensor, Statistics]:
    """Sum of the divergences from the teacher at the tokens of a micro-batch, with their statistics.

    Args:
        settings: the recipe.
        teacher_head: makes logits of the teacher's hidden states.
        tokens: of the tokenizer; embeddings may have more rows, which mean nothing.
        student: the network that learns.
        inputs: what `AnswerBatches` draws.
    """
    answers, (seen,) = split_inputs(inputs)
    hidden = hidden_before(student, answers)
    loss, statistics = distillation_loss(
        hidden,
        lambda part: student.head(part)[..., :tokens],
        seen,
        lambda part: teacher_head(part)[..., :tokens],
        answers.mask,
        beta=settings.beta,
        temperature=settings.temperature,
        normalizer=1.0,
    )
    rows = torch.ones(len(answers.mask), dtype=torch.bool, device=hidden.device)
    return loss, statistics | {"length": tally(answers.mask.sum(1), rows)}


def run_distillation(
    settings: DistillSettings, resume: bool = False, quiet: bool = False, force: bool = False
) -> StageResult:
    """Let the parent answer prompts and learn what the teacher would have said, and write `out/model`.

    Args:
        settings: the recipe.
        resume: go on from the newest checkpoint of `out`.
        quiet: no progress on standard error.
        force: resume though recipe or data changed, or begin anew over an unfinished run.

    Raises:
        JielongError: no usable prompt, student and teacher have different tokens, or training failed.
    """
    if settings.training.parallel == "fsdp":
        raise UsageError("distillation needs training.parallel = ddp: who answers needs whole weights")
    return train_stage(partial(_stage, settings), settings, resume, quiet, force)


def _stage(settings: DistillSettings) -> Stage:
    parent, teacher_folder = find_model(settings.parent), find_model(settings.teacher)
    model, tokenizer = load_parent(parent, settings.lora, settings.seed)
    teacher, teacher_tokenizer = load_parent(teacher_folder)
    if teacher_tokenizer.fingerprint != tokenizer.fingerprint:
        raise JielongError(
            f"{settings.teacher} has another tokenizer than {settings.parent}: a distribution over other "
            "tokens cannot be learned; let the teacher answer (`jielong rollouts`) and fine-tune on that"
        )
    device = choose_device(settings.training.device)
    model, teacher = model.to(device), teacher.to(device).eval().requires_grad_(False)
    problems = Problems()
    context = min(model.config.max_position_embeddings, teacher.config.max_position_embeddings)
    prompts = read_prompts(settings.prompts, tokenizer, context - settings.max_tokens, problems)
    batches = AnswerBatches(
        settings, model if settings.answers_by == "student" else teacher, teacher, prompts,
        EngineRollouts(tokenizer), tokenizer.pad_id,
        choose_precision(settings.training.precision, device),
    )  # fmt: skip
    shown = settings.sample_prompts or [prompt.text for prompt in prompts[:_SHOWN_PROMPTS]]
    return Stage(
        name="distill",
        title="distillation",
        model=model,
        tokenizer=tokenizer,
        batches=batches,
        objective=partial(distill_objective, settings, teacher.head, tokenizer.vocab_size),
        data=[{"name": "prompts", "documents": len(prompts), "sha256": fingerprint(prompts)}],
        problems=problems,
        paths=settings.prompts,
        parent=parent,
        sampler=answer_prompts(tokenizer, shown),
        temperature=0.3,
    )
