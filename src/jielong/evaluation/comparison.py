"""What was gained and lost: two models on the same questions."""

from dataclasses import dataclass
from typing import Any, Literal

from jielong.core.errors import JielongError
from jielong.evaluation.intervals import (
    PairedCounts,
    holm_adjusted,
    mcnemar_exact,
    paired_difference_interval,
    wilson_interval,
)
from jielong.evaluation.results import ExamResult, Group, Mark, grouped

SIGNIFICANT = 0.05  # family-wise, after Holm's adjustment over all rows

Change = Literal["gained", "lost", "no clear change"]


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One skill, language and form: parent against child on the questions that both answered."""

    group: Group
    cells: PairedCounts
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def change(self) -> Change:
        """The finding in words; a difference that luck explains is "no clear change"."""
        if self.p_holm >= SIGNIFICANT:
            return "no clear change"
        return "gained" if self.cells.difference > 0 else "lost"

    def to_json(self) -> dict[str, Any]:
        """Give the row as `report.json` holds it."""
        cells = self.cells
        parent, child = cells.both + cells.lost, cells.both + cells.gained
        return {
            **self.group._asdict(),
            "total": cells.total,
            "parent_right": parent,
            "parent_interval": _rounded(wilson_interval(parent, cells.total)),
            "child_right": child,
            "child_interval": _rounded(wilson_interval(child, cells.total)),
            "both": cells.both,
            "only_child": cells.gained,
            "only_parent": cells.lost,
            "neither": cells.neither,
            "difference": round(cells.difference, 4),
            "difference_interval": _rounded((self.low, self.high)),
            "p": float(f"{self.p:.4g}"),
            "p_holm": float(f"{self.p_holm:.4g}"),
            "change": self.change,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Parent against child over a whole exam."""

    parent: str
    child: str
    rows: list[ComparisonRow]

    def to_json(self) -> dict[str, Any]:
        """Give the comparison as `report.json` holds it."""
        return {"parent": self.parent, "child": self.child, "rows": [row.to_json() for row in self.rows]}


def compare(parent: ExamResult, child: ExamResult) -> Comparison:
    """Compare two models on the questions that both answered, pairing them by question.

    Each row has McNemar's exact p-value, the same adjusted over all rows (Holm), and Newcombe's interval of
    the difference.

    Raises:
        JielongError: when the two results share no question.
    """
    before, after = grouped(parent.marks()), grouped(child.marks())
    groups = [group for group in after if group in before]
    cells = {group: _cells(before[group], after[group]) for group in groups}
    cells = {group: counts for group, counts in cells.items() if counts.total}
    if not cells:
        raise JielongError(f"{parent.model} and {child.model} share no question; give both the same exam")
    p_values = [mcnemar_exact(counts.gained, counts.lost) for counts in cells.values()]
    rows = [
        ComparisonRow(group, counts, *paired_difference_interval(counts), p, adjusted)
        for (group, counts), p, adjusted in zip(cells.items(), p_values, holm_adjusted(p_values), strict=True)
    ]
    return Comparison(parent.model, child.model, rows)


def _cells(parent: list[Mark], child: list[Mark]) -> PairedCounts:
    before = {mark.id: mark.right for mark in parent}
    pairs = [(before[mark.id], mark.right) for mark in child if mark.id in before]
    return PairedCounts(
        both=pairs.count((True, True)),
        gained=pairs.count((False, True)),
        lost=pairs.count((True, False)),
        neither=pairs.count((False, False)),
    )


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(bound, 4) for bound in interval]
