"""Read preferences in any of the usual forms, and make pairs of rankings and thumbs, and thumbs of pairs."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from jielong.core.files import hash_json
from jielong.data import Problems
from jielong.data.conversation_forms import FormError
from jielong.data.conversations import name_row
from jielong.data.rows import read_all_rows
from jielong.feedback.preference_forms import record_of
from jielong.feedback.records import Message, Pair, Ranking, Record, Steps, Thumb


def read_preferences(paths: Sequence[Path | str] | Path | str, problems: Problems) -> Iterator[Record]:
    """Read preferences from .jsonl, .json, .csv, .tsv and .parquet files (packed or not), folders and globs.

    The form is detected in each row; see `jielong.feedback.preference_forms`.

    Args:
        paths: what the user gave.
        problems: bad files and rows are counted and named here, never raised.

    Raises:
        JielongError: a path does not exist.
    """
    for source, number, row in read_all_rows(paths, problems, "preference file"):
        try:
            yield record_of(row, name_row(source, number, row))
        except FormError as error:
            problems.add(str(error), source.name, number)


def pairs_of(records: Iterable[Record], most: int | None = None) -> Iterator[Pair]:
    """All preferences as pairs: pairs as they are, of rankings and of thumbs those that follow from them.

    Thumbs come last, as those of one prompt may stand anywhere; they are held in memory. Marks of steps are
    no preference between answers and are left out.

    Args:
        records: what was read.
        most: pairs that one ranking, or the thumbs of one prompt, may give; None = all.
    """
    thumbs: list[Thumb] = []
    for record in records:
        if isinstance(record, Pair):
            yield record
        elif isinstance(record, Ranking):
            yield from pairs_of_ranking(record, most)
        elif isinstance(record, Thumb):
            thumbs.append(record)
    yield from pairs_of_thumbs(thumbs, most)


def pairs_of_ranking(ranking: Ranking, most: int | None = None) -> Iterator[Pair]:
    """Every completion with every worse one; K completions give K (K - 1) / 2 pairs, neighbours first.

    Ouyang et al. 2022 (arXiv 2203.02155), section 3.5, learn all pairs of a prompt in one batch, since pairs
    that share completions, spread over batches, are learned by heart.
    """
    places = itertools.combinations(range(len(ranking.completions)), 2)
    nearest = sorted(places, key=lambda pair: (pair[1] - pair[0], pair[0]))
    different = (
        (better, worse)
        for better, worse in nearest
        if ranking.completions[better] != ranking.completions[worse] and not _equal(ranking, better, worse)
    )
    for better, worse in itertools.islice(different, most):
        yield Pair(
            f"{ranking.id}#{better + 1}>{worse + 1}",
            ranking.prompt,
            ranking.completions[better],
            ranking.completions[worse],
            tools=ranking.tools,
            metadata=ranking.metadata,
        )


def pairs_of_thumbs(thumbs: Iterable[Thumb], most: int | None = None) -> Iterator[Pair]:
    """Every liked completion with every disliked one of the same prompt, if there are both."""
    by_prompt: dict[str, tuple[list[Thumb], list[Thumb]]] = {}
    for thumb in thumbs:
        down, up = by_prompt.setdefault(hash_json([thumb.prompt, thumb.tools]), ([], []))
        (up if thumb.label else down).append(thumb)
    for down, up in by_prompt.values():
        different = (
            (liked, other)
            for liked, other in itertools.product(up, down)
            if liked.completion != other.completion
        )
        for liked, other in itertools.islice(different, most):
            yield Pair(
                f"{liked.id}>{other.id}",
                liked.prompt,
                liked.completion,
                other.completion,
                tools=liked.tools,
                metadata=liked.metadata,
            )


def thumbs_of(records: Iterable[Record]) -> Iterator[Thumb]:
    """All preferences as thumbs: a pair gives one up and one down, a ranking as its first and its last.

    Ties, and completions in the middle of a ranking, say nothing about a thumb.
    """
    for record in records:
        if isinstance(record, Thumb):
            yield record
        elif isinstance(record, Pair) and not record.tie:
            up = Thumb(f"{record.id}+", record.prompt, record.chosen, True, record.tools, record.metadata)
            yield up
            yield replace(up, id=f"{record.id}-", completion=record.rejected, label=False)
        elif isinstance(record, Ranking) and not _equal(record, 0, -1):
            best, worst = record.completions[0], record.completions[-1]
            up = Thumb(f"{record.id}+", record.prompt, best, True, record.tools, record.metadata)
            yield up
            yield replace(up, id=f"{record.id}-", completion=worst, label=False)


def _equal(ranking: Ranking, one: int, other: int) -> bool:
    return bool(ranking.scores) and ranking.scores[one] == ranking.scores[other]


def messages_of_steps(steps: Steps) -> list[Message]:
    """The whole chat of an answer in steps, a step a line."""
    return [*steps.prompt, {"role": "assistant", "content": "\n".join(steps.steps)}]
