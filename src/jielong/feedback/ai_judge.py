"""AI feedback: a language model says which of two answers is better, in both orders (RLAIF)."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core.errors import JielongError
from jielong.core.files import to_jsonl, write_atomically
from jielong.data import Problems
from jielong.feedback.preferences import read_preferences
from jielong.feedback.records import Message, Pair, Ranking
from jielong.generation import SamplingSettings
from jielong.lm import LanguageModel, Request, Response

PRINCIPLES = "helpful, correct, honest about what it does not know, and safe"
_QUESTION = """Two answers to the last message of a conversation are given. Which one is better? A good \
answer is {principles}. Length is no merit, and neither is the order in which the answers stand.

[Conversation]
{prompt}

[Answer A]
{first}

[Answer B]
{second}

Reply with JSON: in "reason" one sentence, in "better" one of "A", "B" and "neither"."""
_SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 160},
        "better": {"type": "string", "enum": ["A", "B", "neither"]},
    },
    "required": ["reason", "better"],
    "additionalProperties": False,
}
_SETTINGS = SamplingSettings(temperature=0.0, max_tokens=512)  # a character may take three tokens


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two completions of a prompt, to be judged."""

    id: str
    prompt: list[Message]
    first: list[Message]
    second: list[Message]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of a comparison, asked twice."""

    better: str
    """`first`, `second` or `neither`: also where the two orders contradict each other."""
    said: tuple[str, str]
    """In the order given and in the other one: `A`, `B`, `neither`, or `unclear`."""
    reasons: tuple[str, str]

    @property
    def consistent(self) -> bool:
        """Whether the order of the answers made no difference."""
        return self.said in (("A", "B"), ("B", "A"), ("neither", "neither"))


def judge_pairs(
    judge: LanguageModel, comparisons: Sequence[Comparison], principles: str = PRINCIPLES
) -> list[Verdict]:
    """Let a language model compare answers, each pair in both orders.

    A judge that prefers what stands first (Zheng et al. 2023, arXiv 2306.05685, section 3.3) contradicts
    itself when the answers change places, and so decides nothing. Lee et al. 2023 (RLAIF, arXiv 2309.00267)
    train on such verdicts in place of people's.

    Args:
        judge: any language model that follows a JSON schema.
        comparisons: what to judge.
        principles: what makes an answer good, as words that follow "A good answer is".

    Returns:
        One verdict a comparison, in order.

    Raises:
        JielongError: the judge cannot be asked.
    """
    orders = [
        (one.prompt, answers)
        for one in comparisons
        for answers in ((one.first, one.second), (one.second, one.first))
    ]
    requests = [
        Request([{"role": "user", "content": _ask(prompt, *answers, principles)}], _SETTINGS, schema=_SCHEMA)
        for prompt, answers in orders
    ]
    said = [_read(response) for response in judge.generate(requests)]
    return [_verdict(*pair) for pair in zip(said[::2], said[1::2], strict=True)]


def write_ai_preferences(
    judge: LanguageModel,
    answers: Sequence[Path],
    out: Path,
    *,
    neighbours_only: bool = True,
    principles: str = PRINCIPLES,
) -> dict[str, Any]:
    """Judge the answers in files of rankings or pairs, and write preferences with who judged.

    Args:
        judge: see `judge_pairs`.
        answers: files with `prompt` and `completions`, as `jielong rollouts` writes them, or pairs; what they
            say of better and worse is ignored.
        out: JSON Lines with prompt, chosen, rejected and judge; contradictions are left out.
        neighbours_only: compare each answer of a prompt with the next one only, and not all with all.
        principles: see `judge_pairs`.

    Returns:
        Figures for people.

    Raises:
        JielongError: no comparison can be made, or the judge cannot be asked.
    """
    problems = Problems()
    comparisons = list(_comparisons(answers, problems, neighbours_only))
    if not comparisons:
        reasons = "; ".join(problems.lines())
        names = ", ".join(map(str, answers))
        raise JielongError(f"no two answers to compare in {names}" + (reasons and f": {reasons}"))
    verdicts = judge_pairs(judge, comparisons, principles)
    rows = [
        _row(comparison, verdict, judge.name)
        for comparison, verdict in zip(comparisons, verdicts, strict=True)
        if verdict.better != "neither"
    ]
    write_atomically(out, to_jsonl(rows))
    counts = Counter(verdict.better for verdict in verdicts)
    return {
        "preferences": str(out),
        "judge": judge.name,
        "comparisons": len(verdicts),
        "decided": len(rows),
        "consistent": sum(verdict.consistent for verdict in verdicts) / len(verdicts),
        "said_A": sum(verdict.said.count("A") for verdict in verdicts) / (2 * len(verdicts)),
        "neither": counts["neither"],
        "skipped": problems.counts,
    }


def _comparisons(paths: Sequence[Path], problems: Problems, neighbours_only: bool) -> Iterator[Comparison]:
    for record in read_preferences(paths, problems):
        if isinstance(record, Pair):
            yield Comparison(record.id, record.prompt, record.chosen, record.rejected)
        elif isinstance(record, Ranking):
            different = [
                answer
                for place, answer in enumerate(record.completions)
                if answer not in record.completions[:place]
            ]
            pairs = itertools.pairwise(different) if neighbours_only else itertools.combinations(different, 2)
            for number, (first, second) in enumerate(pairs):
                yield Comparison(f"{record.id}#{number}", record.prompt, first, second)
        else:
            problems.add("record without two answers to one prompt", record.id)


def _row(comparison: Comparison, verdict: Verdict, judge: str) -> dict[str, Any]:
    sides = (comparison.first, comparison.second)
    chosen, rejected = sides if verdict.better == "first" else sides[::-1]
    return {
        "prompt": comparison.prompt, "chosen": chosen, "rejected": rejected, "judge": judge,
        "said": list(verdict.said), "reasons": list(verdict.reasons),
    }  # fmt: skip


def _ask(
    prompt: Sequence[Message], first: Sequence[Message], second: Sequence[Message], principles: str
) -> str:
    return _QUESTION.format(
        principles=principles,
        prompt=_text(prompt, named=True),
        first=_text(first, named=len(first) > 1),
        second=_text(second, named=len(second) > 1),
    )


def _text(messages: Sequence[Message], named: bool) -> str:
    lines = [(message["role"], message.get("content") or "") for message in messages]
    return "\n\n".join(f"{role}: {content}" if named else str(content) for role, content in lines)


def _read(response: Response) -> tuple[str, str]:
    """What was said, and why; `unclear` where it is not in the form that was asked for."""
    try:
        found = json.loads(response.text)
    except json.JSONDecodeError:
        return "unclear", ""
    if not isinstance(found, Mapping) or found.get("better") not in ("A", "B", "neither"):
        return "unclear", ""
    return str(found["better"]), str(found.get("reason", ""))


def _verdict(given: tuple[str, str], turned: tuple[str, str]) -> Verdict:
    said = (given[0], turned[0])
    better = {("A", "B"): "first", ("B", "A"): "second"}.get(said, "neither")
    return Verdict(better, said, (given[1], turned[1]))
