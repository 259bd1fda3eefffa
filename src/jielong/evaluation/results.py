"""What an exam gives: one record an answer, and scores counted from the records."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from jielong.evaluation.intervals import wilson_interval
from jielong.evaluation.items import PromptForm


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One question with the model's answer to it and the mark, as a person can check it."""

    id: str
    skill: str
    lang: str
    form: str
    messages: list[dict[str, Any]]
    answer: str
    right: bool
    why: str
    expected: list[str] = field(default_factory=list)
    ended: bool | None = None  # plain: did the answer end by itself
    says_unknown: bool | None = None  # plain facts_taught: does it say "I don't know"
    choices: list[str] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)  # nats, one a choice
    right_per_byte: bool | None = None  # choice: the mark if log-probabilities were divided by UTF-8 bytes


class Mark(NamedTuple):
    """One right-or-wrong that is counted in a row of the report."""

    id: str
    skill: str
    lang: str
    form: str
    right: bool
    right_per_byte: bool | None


class Group(NamedTuple):
    """What one row of the report is about."""

    skill: str
    language: str
    form: str


@dataclass(frozen=True, slots=True)
class ExamResult:
    """All answers of one model to one exam."""

    model: str
    prompt: PromptForm
    answers: list[AnswerRecord]
    seconds: float = 0.0

    def marks(self) -> list[Mark]:
        """Give every mark: of the answers, then of `ends` and `false_unknown`, which reuse the answers."""
        marks = [Mark(a.id, a.skill, a.lang, a.form, a.right, a.right_per_byte) for a in self.answers]
        marks += [
            Mark(a.id, "ends", a.lang, a.form, a.ended, None) for a in self.answers if a.ended is not None
        ]
        marks += [
            Mark(a.id, "false_unknown", a.lang, a.form, not a.says_unknown, None)
            for a in self.answers
            if a.says_unknown is not None
        ]
        return marks

    def rows(self) -> list[dict[str, Any]]:
        """Give the rows of `report.json`'s `exam`: counts and 95 % Wilson intervals of each group."""
        rows = []
        for group, marks in grouped(self.marks()).items():
            right, total = sum(mark.right for mark in marks), len(marks)
            low, high = wilson_interval(right, total)
            row: dict[str, Any] = {"model": self.model, **group._asdict(), "prompt": self.prompt}
            row |= {"right": right, "total": total, "low": round(low, 4), "high": round(high, 4)}
            if marks[0].right_per_byte is not None:
                row["right_per_byte"] = sum(bool(mark.right_per_byte) for mark in marks)
            rows.append(row)
        return rows

    def records(self) -> list[dict[str, Any]]:
        """Give the lines of `answers.jsonl`; what does not apply to a question is left out."""
        head = {"model": self.model, "prompt_form": self.prompt}
        return [
            head | {key: value for key, value in asdict(answer).items() if value is not None and value != []}
            for answer in self.answers
        ]


# The order in which a person wants to read the skills; others follow by name.
SKILL_ORDER = (
    "facts_taught",
    "facts_heldout",
    "unknown",
    "false_unknown",
    "persona",
    "hint",
    "refusal",
    "benign",
    "multi_turn",
    "reading",
    "arithmetic",
    "translation",
    "summary",
    "ends",
)


def grouped(marks: Iterable[Mark]) -> dict[Group, list[Mark]]:
    """Sort marks into rows by skill, form and language, in reading order."""
    groups: dict[Group, list[Mark]] = defaultdict(list)
    for mark in marks:
        groups[Group(mark.skill, mark.lang, mark.form)].append(mark)
    return dict(sorted(groups.items(), key=lambda entry: reading_order(entry[0])))


def reading_order(group: Group) -> tuple[int, str, int, int]:
    """Sort key of a row: the skill's place, then plain before choice, then Chinese before English."""
    place = SKILL_ORDER.index(group.skill) if group.skill in SKILL_ORDER else len(SKILL_ORDER)
    return place, group.skill, group.form != "plain", group.language != "zh"
