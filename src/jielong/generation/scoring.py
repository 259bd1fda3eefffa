"""Log-probabilities of given texts, in batches: of continuations, and of every token."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.generation.request import TokenScore
from jielong.models import Transformer

# Tokens, padding included, that go through the network at once.
_BATCH_TOKENS = 8192
# Logits (positions x vocabulary) held at once: 2^24 float32 are 64 MiB.
_BATCH_LOGITS = 1 << 24


@dataclass(slots=True)
class _Tree:
    """A prompt and the continuations that branch off after it, as one row of tokens.

    A continuation's last token is only predicted, never read, so it does not stand in the row.
    """

    prompt: Sequence[int]
    pairs: list[int]
    continuations: list[Sequence[int]]

    @property
    def length(self) -> int:
        """Tokens of the row."""
        return len(self.prompt) + sum(len(one) - 1 for one in self.continuations)

    def tokens(self) -> list[int]:
        return [*self.prompt, *(token for one in self.continuations for token in one[:-1])]

    def positions(self) -> list[int]:
        first = len(self.prompt)
        return [*range(first), *(first + i for one in self.continuations for i in range(len(one) - 1))]

    def branches(self) -> list[int]:
        """0 in the prompt, then the number of the continuation from 1."""
        numbered = enumerate(self.continuations, 1)
        return [0] * len(self.prompt) + [number for number, one in numbered for _ in one[:-1]]

    def predictors(self) -> Iterator[tuple[int, int, int]]:
        """Place in the row, the token to be predicted from there, and its pair."""
        place = len(self.prompt)
        for pair, continuation in zip(self.pairs, self.continuations, strict=True):
            for number, token in enumerate(continuation):
                yield (place + number - 1 if number else len(self.prompt) - 1), token, pair
            place += len(continuation) - 1


def score_continuations(
    model: Transformer, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
) -> list[float]:
    """Log-probability (nats) of each continuation after its prompt.

    Neighbouring pairs with the same prompt share it: their continuations stand side by side in one row, and
    each sees the prompt and itself.

    Args:
        model: in evaluation mode.
        prompts: token ids, each of at least one token.
        continuations: token ids, one non-empty list per prompt.

    Returns:
        The sum of the tokens' log-probabilities, per pair.

    Raises:
        JielongError: if the lists differ in length, a prompt or continuation is empty, or a pair is too long.
    """
    context = model.config.max_position_embeddings
    _check(context, prompts, continuations)
    scores = torch.zeros(len(prompts), dtype=torch.float64)
    trees = list(_trees(prompts, continuations, max(context, _BATCH_TOKENS)))
    for places in _batches([tree.length for tree in trees]):
        _score_trees(model, [trees[place] for place in places], scores)
    return [float(score) for score in scores.tolist()]


@torch.inference_mode()
def token_logprobs(
    model: Transformer, texts: Sequence[Sequence[int]], candidates: int, vocabulary: int
) -> list[list[TokenScore | None]]:
    """What the model gives to each token of each text after those before it; the first is None.

    Args:
        model: in evaluation mode.
        texts: token ids, at least one each.
        candidates: how many of the likeliest tokens to give at each place.
        vocabulary: tokens that mean something.

    Raises:
        JielongError: if a text is empty or longer than the context.
    """
    _check_texts(model, texts)
    found: list[list[TokenScore | None]] = [[None] for _ in texts]
    for places in _batches([len(text) for text in texts]):
        hidden = _hidden(model, [texts[place] for place in places])
        for row, place in enumerate(places):
            text = texts[place]
            at_once = max(1, _BATCH_LOGITS // model.config.vocab_size)
            for start in range(0, len(text) - 1, at_once):
                end = min(start + at_once, len(text) - 1)
                logits = model.head(hidden[row, start:end]).float()
                logprobs = logits[:, :vocabulary] - logits.logsumexp(-1, keepdim=True)
                targets = torch.tensor(text[start + 1 : end + 1], device=logits.device)
                own = logprobs.gather(1, targets[:, None]).squeeze(1).tolist()
                top = logprobs.topk(min(candidates, vocabulary))
                rows = zip(targets.tolist(), own, top.indices.tolist(), top.values.tolist(), strict=True)
                found[place] += [
                    TokenScore(token, value, list(zip(ids, values, strict=True)))
                    for token, value, ids, values in rows
                ]
    return found


@torch.inference_mode()
def mean_hidden(model: Transformer, texts: Sequence[Sequence[int]]) -> Tensor:
    """The mean of each text's last hidden states, float32 [N, D].

    Args:
        model: in evaluation mode.
        texts: token ids, at least one each.

    Raises:
        JielongError: if a text is empty or longer than the context.
    """
    _check_texts(model, texts)
    means = torch.zeros(len(texts), model.config.hidden_size)
    for places in _batches([len(text) for text in texts]):
        hidden = _hidden(model, [texts[place] for place in places])
        for row, place in enumerate(places):
            means[place] = hidden[row, : len(texts[place])].float().mean(0)
    return means


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


def _check_texts(model: Transformer, texts: Sequence[Sequence[int]]) -> None:
    context = model.config.max_position_embeddings
    for index, text in enumerate(texts):
        if not text:
            raise JielongError(f"text {index} is empty; give it at least one token")
        if len(text) > context:
            raise JielongError(
                f"text {index} has {len(text)} tokens and the model's context holds {context}; shorten it"
            )


def _trees(
    prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], longest: int
) -> Iterator[_Tree]:
    """Neighbouring pairs of one prompt together, in rows of at most `longest` tokens (one pair at least)."""
    for _, group in itertools.groupby(range(len(prompts)), key=lambda pair: tuple(prompts[pair])):
        tree: _Tree | None = None
        for pair in group:
            if tree is None or tree.length + len(continuations[pair]) > longest:
                if tree is not None:
                    yield tree
                tree = _Tree(prompts[pair], [], [])
            tree.pairs.append(pair)
            tree.continuations.append(continuations[pair])
        assert tree is not None  # noqa: S101 - no group is empty
        yield tree


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
def _score_trees(model: Transformer, trees: list[_Tree], scores: Tensor) -> None:
    """Add to each pair's score; the head runs only where tokens are predicted."""
    device = next(model.parameters()).device
    tokens = _padded([tree.tokens() for tree in trees], 0).to(device)
    positions = _padded([tree.positions() for tree in trees], 0).to(device)
    mask = None
    if any(len(tree.continuations) > 1 for tree in trees):
        # Padding comes last, so no token ever sees it.
        branches = _padded([tree.branches() for tree in trees], -1).to(device)
        earlier = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=device).tril()
        visible = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
        mask = (visible & earlier)[:, None]
    hidden = model(tokens, positions, mask)
    wanted = [(row, *predictor) for row, tree in enumerate(trees) for predictor in tree.predictors()]
    rows, columns, targets, pairs = (torch.tensor(column) for column in zip(*wanted, strict=True))
    predicting = hidden[rows.to(device), columns.to(device)]
    logprobs = _target_logprobs(model, predicting, targets.to(device))
    scores.index_add_(0, pairs, logprobs.double().cpu())


def _hidden(model: Transformer, texts: Sequence[Sequence[int]]) -> Tensor:
    """Last hidden states [N, T, D] of texts; those beyond a text's end mean nothing."""
    device = next(model.parameters()).device
    tokens = _padded(texts, 0).to(device)
    positions = torch.arange(tokens.shape[1], device=device).expand(tokens.shape)
    hidden: Tensor = model(tokens, positions)
    return hidden


def _padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])


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
