"""The report of a run: what it holds, and the files that it becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jielong.core.errors import JielongError
from jielong.core.files import read_jsonl, to_json, to_jsonl, write_atomically
from jielong.evaluation.comparison import Comparison
from jielong.evaluation.items import PromptForm
from jielong.evaluation.results import ExamResult, Group
from jielong.evaluation.wording import PAGE, SKILL_MEANINGS, Words, skill_name

REPORT_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One decision of a run and why it was taken."""

    what: Words
    value: Words | str
    reason: Words


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model wrote during training."""

    step: int
    prompt: str
    text: str


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """What one training stage measured along the way."""

    name: Words
    loss: list[tuple[float, float]] = field(default_factory=list)  # (step, nats per token)
    bits_per_byte: list[tuple[float, float]] = field(
        default_factory=list
    )  # (step, bits per byte of held-out text)
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LineageStep:
    """One ancestor of the model, or the model itself."""

    stage: str
    model: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report card shows."""

    results: Sequence[ExamResult]  # in order of age: parent first, the model itself last
    comparison: Comparison | None = None
    title: Words = PAGE["title"]
    curves: Sequence[TrainingCurve] = ()
    plan: Sequence[PlanLine] = ()
    lineage: Sequence[LineageStep] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # wall-clock seconds by stage
    extra: Mapping[str, Any] = field(default_factory=dict)  # further keys of report.json


def read_curve(path: Path, name: Words) -> TrainingCurve:
    """Read a stage's `metrics.jsonl`: training loss, validation bits per byte and samples, each by step."""
    curve = TrainingCurve(name)
    for row in read_jsonl(path):
        step = row.get("step")
        if not isinstance(step, int | float):
            raise JielongError(f"{path} has a line without a step; is it a metrics file?")
        if isinstance(row.get("loss"), int | float):
            curve.loss.append((step, float(row["loss"])))
        if isinstance(row.get("validation_bits_per_byte"), int | float):
            curve.bits_per_byte.append((step, float(row["validation_bits_per_byte"])))
        for sample in row.get("samples") or ():
            curve.samples.append(
                Sample(int(step), str(sample.get("prompt", "")), str(sample.get("text", "")))
            )
    return curve


def report_json(report: Report) -> dict[str, Any]:
    """Give what `report.json` holds.

    `exam` is a list of {model, skill, language, form, prompt, right, total, low, high[, right_per_byte]}:
    `right` is always the good outcome (for `false_unknown`: answers WITHOUT a false "I don't know"), `prompt`
    says whether the model was asked through the chat template or as plain text.
    """
    skills = {row["skill"] for result in report.results for row in result.rows()}
    value: dict[str, Any] = {
        "format": REPORT_FORMAT,
        "title": report.title._asdict(),
        "models": [
            {"model": result.model, "prompt": result.prompt, "exam_seconds": round(result.seconds, 2)}
            for result in report.results
        ],
        "exam": [row for result in report.results for row in result.rows()],
        "comparison": report.comparison.to_json() if report.comparison else None,
        "skills": {
            skill: {"name": skill_name(skill)._asdict(), "meaning": _meaning(skill)}
            for skill in sorted(skills)
        },
        "seconds": {stage: round(seconds, 2) for stage, seconds in report.seconds.items()},
        "plan": [
            {"what": line.what._asdict(), "value": _plain(line.value), "reason": line.reason._asdict()}
            for line in report.plan
        ],
        "lineage": [{"stage": step.stage, "model": step.model, **step.details} for step in report.lineage],
        "training": [_curve_json(curve) for curve in report.curves],
    }
    taken = sorted(set(value) & set(report.extra))
    if taken:
        raise ValueError(f"extra keys {taken} are the report's own")
    return value | dict(report.extra)


def write_report(folder: Path, report: Report) -> dict[str, Path]:
    """Write `answers.jsonl`, `report.html` and, last, `report.json`; returns their paths by name."""
    from jielong.evaluation.page import render_page

    contents = {
        "answers.jsonl": to_jsonl(record for result in report.results for record in result.records()),
        "report.html": render_page(report),
        "report.json": to_json(report_json(report)),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return {name: folder / name for name in contents}


def exam_rows(report: Report) -> dict[Group, dict[str, dict[str, Any]]]:
    """Give the exam's rows by group and model name, in reading order of the last model."""
    table: dict[Group, dict[str, dict[str, Any]]] = {}
    for result in reversed(report.results):
        for row in result.rows():
            table.setdefault(Group(row["skill"], row["language"], row["form"]), {})[result.model] = row
    return table


def prompts_of(report: Report) -> dict[str, PromptForm]:
    """Give the form in which each model was asked."""
    return {result.model: result.prompt for result in report.results}


def _curve_json(curve: TrainingCurve) -> dict[str, Any]:
    return {
        "stage": curve.name._asdict(),
        "steps": curve.loss[-1][0] if curve.loss else 0,
        "final_loss": curve.loss[-1][1] if curve.loss else None,
        "validation_bits_per_byte": [list(point) for point in curve.bits_per_byte],
    }


def _meaning(skill: str) -> dict[str, str] | None:
    meaning = SKILL_MEANINGS.get(skill)
    return meaning._asdict() if meaning else None


def _plain(value: Words | str) -> dict[str, str] | str:
    return value._asdict() if isinstance(value, Words) else value
