"""Log-probability of given continuations, in batches."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.models import Transformer

# Tokens, padding included, that go through the network at once.
_BATCH_TOKENS = 8192
# Logits (positions x vocabulary) held at once: 2^24 float32 are 64 MiB.
_BATCH_LOGITS = 1 << 24


def score_continuations(
    model: Transformer, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> list[float]:
    """Log-probability (nats) of each continuation after its prompt.

    Args:
        model: in evaluation mode.
        prompts: token ids, each of at least one token.
        continuations: token ids, one non-empty list per prompt.

    Returns:
        The sum of the tokens' log-probabilities, per pair.

    Raises:
        JielongError: if the lists differ in length, a prompt or continuation is empty, or a pair is too long.
    """
    _check(model.config.max_position_embeddings, prompts, continuations)
    scores = [0.0] * len(prompts)
    pairs = [[*prompt, *continuation] for prompt, continuation in zip(prompts, continuations, strict=True)]
    for rows in _batches([len(pair) for pair in pairs]):
        sums = _score_batch(model, [pairs[row] for row in rows], [len(prompts[row]) for row in rows])
        for row, value in zip(rows, sums, strict=True):
            scores[row] = value
    return scores


def _check(context: int, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]) -> None:
    if len(prompts) != len(continuations):
        raise JielongError(
            f"there are {len(prompts)} prompts but {len(continuations)} continuations to score"
        )
    for index, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
        if not prompt or not continuation:
            raise JielongError(f"pair {index} to score has an empty {'continuation' if prompt else 'prompt'}")
        # The last token is only predicted, never read, but it stays within the context as any token must.
        if len(prompt) + len(continuation) > context:
            raise JielongError(
                f"pair {index} to score has {len(prompt) + len(continuation)} tokens and the model's context "
                f"holds {context}; shorten it"
            )


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Row numbers in groups of similar length, longest first, each group within the token budget."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch:
            longest = lengths[batch[0]]
            if longest * (len(batch) + 1) > _BATCH_TOKENS or lengths[row] < longest // 2:
                yield batch
                batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def _score_batch(model: Transformer, pairs: list[list[int]], prompt_lengths: list[int]) -> list[float]:
    """Sums of log-probabilities of `pair[prompt_length:]`; the head runs only where these are predicted."""
    device = next(model.parameters()).device
    # The last token predicts nothing that is asked for. Padding comes last, so causal attention never sees
    # it.
    longest = max(len(pair) for pair in pairs) - 1
    tokens = torch.tensor([[*pair[:-1], *[0] * (longest - len(pair) + 1)] for pair in pairs], device=device)
    positions = torch.arange(longest, device=device).expand(len(pairs), longest)
    hidden = model(tokens, positions)
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    for row, (pair, start) in enumerate(zip(pairs, prompt_lengths, strict=True)):
        rows += [row] * (len(pair) - start)
        columns += range(start - 1, len(pair) - 1)
        targets += pair[start:]
    predicting = hidden[torch.tensor(rows, device=device), torch.tensor(columns, device=device)]
    logprobs = _target_logprobs(model, predicting, torch.tensor(targets, device=device))
    sums = torch.zeros(len(pairs), dtype=torch.float64, device=device)
    sums.index_add_(0, torch.tensor(rows, device=device), logprobs.double())
    return [float(value) for value in sums.tolist()]


def _target_logprobs(model: Transformer, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of targets [N] given hidden states [N, D], float32 [N]."""
    at_once = max(1, _BATCH_LOGITS // model.config.vocab_size)
    parts = []
    for some_hidden, some_targets in zip(
        torch.split(hidden, at_once), torch.split(targets, at_once), strict=True
    ):
        logits = model.head(some_hidden).float()
        parts.append(logits.gather(-1, some_targets[:, None]).squeeze(-1) - logits.logsumexp(dim=-1))
    return torch.cat(parts)
