"""Character n-gram F score, for answers that may be worded in more than one way (translation, summary)."""

from collections import Counter

ORDER = 6  # n-grams of 1 to 6 characters: the paper's best setting
BETA = 2.0  # recall counts twice as much as precision ("chrF2", also the default of sacreBLEU)


def chrf(answer: str, reference: str, *, order: int = ORDER, beta: float = BETA) -> float:
    """Give the chrF of an answer, between 0 (nothing shared) and 1 (equal but for spaces).

    Source: M. Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", WMT15. Spaces are
    left out. As in sacreBLEU, orders for which either text is too short are left out of the mean ("effective
    order"), which matters for short Chinese sentences.
    """
    answer, reference = "".join(answer.split()), "".join(reference.split())
    precisions, recalls = [], []
    for n in range(1, order + 1):
        ours, theirs = _ngrams(answer, n), _ngrams(reference, n)
        if not ours or not theirs:
            continue
        shared = (ours & theirs).total()
        precisions.append(shared / ours.total())
        recalls.append(shared / theirs.total())
    if not precisions:
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if precision + recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def _ngrams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
