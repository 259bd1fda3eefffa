"""Random tensors in the shapes of the objectives."""

import hypothesis
import torch


def given(**strategies):
    """Hypothesis with few examples, since seeds differ only in the numbers that they draw."""
    return lambda test: hypothesis.settings(max_examples=12)(hypothesis.given(**strategies)(test))


def generator(seed):
    return torch.Generator().manual_seed(seed)


def random_mask(seed, rows, length):
    """At least one counted token a row, holes included."""
    mask = torch.rand(rows, length, generator=generator(seed + 1)) < 0.7
    mask[:, seed % length] = True
    return mask


def completion_mask(lengths, length):
    return torch.arange(length) < torch.tensor(lengths).unsqueeze(1)


def logprobs(seed, *shape, spread=0.3):
    """Log-probabilities of tokens, around -1."""
    return -1 + spread * torch.randn(*shape, generator=generator(seed))


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed))


def padded(tensor, left, right, rows, value):
    """The same rows with more tokens on both sides and more rows, filled with `value`."""
    more = torch.full((tensor.shape[0] + rows, left + tensor.shape[1] + right), value, dtype=tensor.dtype)
    more[: tensor.shape[0], left : left + tensor.shape[1]] = tensor
    return more


def padded_hidden(tensor, left, rows):
    """Hidden states [B, T, D] with NaN before them and below them."""
    more = torch.full((tensor.shape[0] + rows, left + tensor.shape[1], tensor.shape[2]), float("nan"))
    more[: tensor.shape[0], left:] = tensor
    return more
