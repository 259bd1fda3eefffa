"""From files of preferences to pairs in tokens: read, encoded, split into what is learned and held out."""

from collections.abc import Sequence
from pathlib import Path

from jielong.core.errors import JielongError
from jielong.core.files import hash_json
from jielong.data import Problems
from jielong.feedback.preferences import pairs_of, read_preferences
from jielong.feedback.records import Pair
from jielong.feedback.token_rows import TokenPair, encode_pairs
from jielong.tokenizer import Tokenizer

_BUCKETS = 10_000


def read_pairs(
    data: Sequence[Path],
    heldout: Sequence[Path],
    tokenizer: Tokenizer,
    *,
    context: int,
    heldout_share: float,
    seed: int,
    problems: Problems,
) -> tuple[list[TokenPair], list[TokenPair]]:
    """Pairs to learn from, and pairs that are held out.

    Args:
        data: files or folders of preferences.
        heldout: the same, held out; without any, a share of the prompts of `data` is.
        tokenizer: with the chat template.
        context: a pair with a longer answer is left out and counted.
        heldout_share: share of the prompts.
        seed: of the split.
        problems: bad rows are counted and named here.

    Raises:
        JielongError: no usable pair to learn from.
    """
    pairs = list(pairs_of(read_preferences(data, problems)))
    apart = list(pairs_of(read_preferences(heldout, problems))) if heldout else []
    if not heldout:
        kept = {pair.id: _is_kept(pair, heldout_share, seed) for pair in pairs}
        apart = [pair for pair in pairs if not kept[pair.id]]
        pairs = [pair for pair in pairs if kept[pair.id]]
    learned, measured = (list(encode_pairs(tokenizer, part, context, problems)) for part in (pairs, apart))
    if not learned:
        reasons = "; ".join(problems.lines())
        names = ", ".join(map(str, data))
        raise JielongError(f"no usable preference in {names}" + (f": {reasons}" if reasons else ""))
    return learned, measured


def _is_kept(pair: Pair, heldout_share: float, seed: int) -> bool:
    """By the prompt alone, so that no prompt is on both sides."""
    return int(hash_json([seed, pair.prompt])[:8], 16) % _BUCKETS >= heldout_share * _BUCKETS
