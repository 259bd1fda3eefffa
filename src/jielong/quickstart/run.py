"""The main job, step by step: text, tokenizer, plan, pretraining, fine-tuning, exam, report."""

import shutil
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from jielong.core.files import write_atomically
from jielong.core.language import interface_language
from jielong.core.progress import ProgressLine, console, format_seconds
from jielong.data import Document, Split, Survey
from jielong.evaluation import (
    ExamResult,
    LineageStep,
    PlanLine,
    Report,
    Words,
    compare,
    examine,
    lineage_steps,
    read_curve,
    read_exam,
    write_report,
)
from jielong.models import add_measurements, family_tree
from jielong.quickstart.clock import StageClock
from jielong.quickstart.material import Material, prepare_material
from jielong.quickstart.plan import Plan, choose_plan
from jielong.quickstart.settings import QuickstartSettings
from jielong.tokenizer import Tokenizer, train_tokenizer
from jielong.training.corpus import survey_documents
from jielong.training.planning import COMPILE_SECONDS, measure_training_speed
from jielong.training.precision import choose_device, choose_precision
from jielong.training.pretrain import pack_documents, run_pretraining
from jielong.training.settings import (
    ModelSettings,
    OptimizerSettings,
    PretrainSettings,
    ScheduleSettings,
    SftSettings,
    TrainingSettings,
)
from jielong.training.sft import run_sft
from jielong.training.stage import StageResult

_CONTEXT = 192
_LONGEST_CHAT = 256  # tokens; a chat drops its oldest turns before it leaves the positions learnt by much
_EXAM_SHARE = 0.065  # of the budget, for two models
_SFT_SHARE = 0.31  # of the time for training
_SFT_EPOCHS = 3.0  # at most: more would learn the conversations by heart
_SAMPLE_CHARACTERS = 400_000
_HELDOUT_SHARE = 0.02  # of the user's own documents
_SPARE = 1.3  # how much more text to encode than the plan expects to read
_TOKENIZER_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class QuickstartResult:
    """What the main job made."""

    base: StageResult
    sft: StageResult
    plan: Plan
    report: Report
    seconds: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """Plain values, for printing."""
        return {
            "model": str(self.sft.model),
            "report": str(self.sft.run.parent / "report.html"),
            "parameters": self.plan.parameters,
            "tokens": self.base.training.tokens,
            "bits_per_byte": self.base.training.bits_per_byte,
            "seconds": {stage: round(seconds, 1) for stage, seconds in self.seconds.items()},
        }


def run_quickstart(settings: QuickstartSettings, quiet: bool = False) -> QuickstartResult:
    """Make a model that chats, from nothing or from the user's text, within the minutes given.

    Raises:
        JielongError: no usable text, or a stage failed.
    """
    clock = StageClock(settings.budget_seconds)
    shutil.rmtree(settings.out, ignore_errors=True)
    settings.out.mkdir(parents=True)
    write_atomically(settings.out / "recipe.yaml", settings.to_yaml())
    with clock.stage("world"):
        material = prepare_material(settings)
    with clock.stage("tokenizer"):
        survey = survey_documents(material.documents, settings.seed, _TOKENIZER_CHARACTERS, quiet)
        split = survey.split(None if material.heldout else _HELDOUT_SHARE)
        tokenizer = _make_tokenizer(settings, survey, split)
    with clock.stage("plan"):
        plan = _make_plan(settings, clock, survey, split, tokenizer)
    for reason in plan.reasons.values():
        _say(f"  {reason[interface_language() == 'en']}", quiet)
    with clock.stage("pretrain"):
        readable = round(_SPARE * plan.passes * survey.characters)
        recipe = _pretrain_recipe(settings, material, plan)
        if readable < survey.characters:
            recipe = recipe.model_copy(update={"max_characters": readable})
        base = run_pretraining(recipe, quiet=quiet, survey=survey)
    with clock.stage("sft"):
        left = clock.left - _EXAM_SHARE * settings.budget_seconds
        sft = run_sft(_sft_recipe(settings, material, base, max(left, 0.3 * plan.sft_seconds)), quiet=quiet)
    with clock.stage("exam"):
        results = _take_exams(material, base, sft, quiet)
    with clock.stage("report"):
        report = _write_report(settings, plan, base, sft, results, clock)
    _say(f"done in {format_seconds(clock.spent)}; the report card is {settings.out / 'report.html'}", quiet)
    return QuickstartResult(base, sft, plan, report, clock.seconds)


def _make_tokenizer(settings: QuickstartSettings, survey: Survey[Document], split: Split) -> Tokenizer:
    """Train on an even sample of the text; a small corpus gets a small vocabulary."""
    size = settings.vocab_size or (1024 if survey.characters < 400_000 else 4096)
    tokenizer = train_tokenizer((document.text for document in survey.sample(split)), size)
    tokenizer.save(settings.out / "tokenizer")
    return tokenizer


def _make_plan(
    settings: QuickstartSettings,
    clock: StageClock,
    survey: Survey[Document],
    split: Split,
    tokenizer: Tokenizer,
) -> Plan:
    sample = survey.sample(split, _SAMPLE_CHARACTERS)
    characters = sum(len(document.text) for document in sample)
    began = time.monotonic()
    packed = pack_documents(tokenizer, sample, _CONTEXT)
    seconds_each = (time.monotonic() - began) / characters
    device = choose_device("auto")
    speed = measure_training_speed(
        tokenizer.vocab_size, _CONTEXT, device, choose_precision("auto", device),
        seconds=min(4.0, settings.budget_seconds / 60),
    )  # fmt: skip
    tokens = round(packed.total_tokens * survey.characters / characters)
    shape = (settings.width, settings.layers) if settings.width and settings.layers else None

    def plan_without(reading: float) -> Plan:
        """The plan when encoding the text for pretraining takes so many seconds."""
        training = (1 - _EXAM_SHARE) * settings.budget_seconds - clock.spent - reading
        training = max(training, 0.3 * settings.budget_seconds)
        return choose_plan(
            speed, tokenizer.vocab_size, _CONTEXT, tokens,
            pretrain_seconds=(1 - _SFT_SHARE) * training, sft_seconds=_SFT_SHARE * training,
            compile_seconds=COMPILE_SECONDS, shape=shape,
        )  # fmt: skip

    read = min(1.0, _SPARE * plan_without(0.0).passes) * survey.characters
    return plan_without(seconds_each * read)


def _pretrain_recipe(settings: QuickstartSettings, material: Material, plan: Plan) -> PretrainSettings:
    tiny = settings.budget_seconds < 120
    return PretrainSettings(
        out=settings.out / "base",
        data=material.documents,
        heldout=material.heldout,
        heldout_share=_HELDOUT_SHARE,
        tokenizer=settings.out / "tokenizer",
        model=ModelSettings(width=plan.width, layers=plan.layers, max_context=_LONGEST_CHAT),
        training=TrainingSettings(
            minutes=plan.pretrain_seconds / 60,
            context=_CONTEXT,
            batch_rows=16,
            compile="auto" if plan.compile else "no",
            optimizer=OptimizerSettings(name="muon", lr=4e-3, muon_lr=6e-3, weight_decay=0.05),
            schedule=ScheduleSettings(warmup=5 if tiny else 40),
            validate_every=100,
            validation_rows=16 if tiny else 64,
        ),
        sample_prompts=material.sample_prompts,
        seed=settings.seed,
    )


def _sft_recipe(
    settings: QuickstartSettings, material: Material, base: StageResult, seconds: float
) -> SftSettings:
    parent = base.training.settings
    return SftSettings(
        out=settings.out / "sft",
        parent=base.model,
        data=material.conversations,
        replay=(base.run,),
        training=TrainingSettings(
            minutes=seconds / 60,
            epochs=_SFT_EPOCHS,
            context=_CONTEXT,
            batch_rows=parent.batch_rows,
            compile=parent.compile,
            optimizer=OptimizerSettings(name="muon", lr=1.5e-3, muon_lr=3e-3, weight_decay=0.05),
            schedule=ScheduleSettings(warmup=parent.schedule.warmup, decay=0.8),
            validate_every=100,
            validation_rows=parent.validation_rows,
        ),
        sample_prompts=material.sample_questions,
        seed=settings.seed,
    )


def _take_exams(material: Material, base: StageResult, sft: StageResult, quiet: bool) -> list[ExamResult]:
    if material.exam is None:
        return []
    items = read_exam(material.exam)
    results = []
    for name, stage in (("base", base), ("sft", sft)):
        line = ProgressLine(f"exam of {name}", len(items), quiet)
        result = examine(stage.model, items, name, progress=partial(_show_exam, line))
        line.close()
        add_measurements(stage.model, {"exam": _shares(result)})
        results.append(result)
    return results


def _show_exam(line: ProgressLine, _name: str, done: int, total: int) -> None:
    line.show(done, f"{done:,} of {total:,}")


def _shares(result: ExamResult) -> dict[str, float]:
    """Share of right answers by skill, language and form, for the lineage."""
    return {
        f"{row['skill']}.{row['language']}.{row['form']}": round(row["right"] / row["total"], 4)
        for row in result.rows()
        if row["total"]
    }


def _write_report(
    settings: QuickstartSettings,
    plan: Plan,
    base: StageResult,
    sft: StageResult,
    results: list[ExamResult],
    clock: StageClock,
) -> Report:
    steps: list[LineageStep] = lineage_steps(family_tree(sft.model))
    report = Report(
        results=results,
        comparison=compare(*results) if len(results) == 2 else None,
        curves=[
            read_curve(base.run / "metrics.jsonl", Words("預訓練", "Pretraining")),
            read_curve(sft.run / "metrics.jsonl", Words("指令微調", "Instruction tuning")),
        ],
        plan=_plan_lines(plan),
        lineage=steps,
        seconds={**clock.seconds, "total": clock.spent},
        extra={"plan_figures": plan.to_dict(), "stages": {"base": base.measured(), "sft": sft.measured()}},
    )
    write_report(settings.out, report)
    return report


def _plan_lines(plan: Plan) -> list[PlanLine]:
    rows = [
        (
            Words("模型大小", "Model size"),
            f"{plan.parameters / 1e6:.1f} M ({plan.width} × {plan.layers})",
            "size",
        ),
        (Words("訓練速度", "Training speed"), f"{plan.tokens_per_second:,.0f} tokens/s", "speed"),
        (Words("預訓練", "Pretraining"), f"{plan.tokens / 1e6:.1f} M tokens", "tokens"),
        (Words("指令微調", "Instruction tuning"), f"{plan.sft_seconds:.0f} s", "sft"),
    ]
    return [PlanLine(what, value, Words(*plan.reasons[name])) for what, value, name in rows]


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        console().print(text)
