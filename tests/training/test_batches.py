import numpy as np
import pytest
import torch

from jielong.data import pack
from jielong.models import Transformer, qwen3_config
from jielong.training import losses
from jielong.training.batches import IGNORED, PackedBatches, make_batch
from jielong.training.losses import next_token_loss

CPU = torch.device("cpu")


@pytest.fixture
def sequences():
    random = np.random.default_rng(0)
    return [random.integers(1, 90, size=size).tolist() for size in random.integers(2, 30, size=40)]


def test_an_epoch_uses_every_row_once_whatever_the_batch(sequences):
    packed = pack(sequences, None, 32)
    count = len(packed.tokens)
    for rows in (1, 3, count, count + 2):
        batches = PackedBatches(packed, rows, seed=1)
        drawn = torch.cat([batches.draw(n, CPU).inputs.tokens for n in range(rows * count // rows + 1)])[
            : 2 * count
        ]
        first = sorted(map(tuple, drawn[:count].tolist()))
        assert first == sorted(map(tuple, packed.tokens.tolist()))


def test_a_batch_depends_on_seed_and_number_alone(sequences):
    packed = pack(sequences, None, 32)
    one, two = PackedBatches(packed, 4, seed=1), PackedBatches(packed, 4, seed=1)
    two.draw(17, CPU)
    assert torch.equal(one.draw(5, CPU).inputs.tokens, two.draw(5, CPU).inputs.tokens)
    other = PackedBatches(packed, 4, seed=2)
    assert not all(
        torch.equal(one.draw(n, CPU).inputs.tokens, other.draw(n, CPU).inputs.tokens) for n in range(4)
    )


def test_targets_are_the_next_tokens_that_are_to_be_learned():
    packed = pack([[5, 6, 7], [8, 9]], [[False, True, False], [True, True]], 6)
    batch = make_batch(packed, np.array([0]), CPU)
    pairs = {
        (int(token), int(target))
        for token, target in zip(batch.inputs.tokens[0], batch.inputs.targets[0], strict=True)
        if target != IGNORED
    }
    assert pairs == {(5, 6), (8, 9)}
    assert batch.learned == 2


def test_packed_loss_and_gradients_equal_those_of_separate_sequences(sequences):
    model = Transformer(qwen3_config(32, 2, 96, 64))
    together = pack(sequences, None, 64)
    apart = [pack([sequence], None, len(sequence)) for sequence in sequences]
    losses, gradients = [], []
    for group in ([together], apart):
        model.zero_grad()
        total = torch.zeros(())
        for packed in group:
            batch = make_batch(packed, np.arange(len(packed.tokens)), CPU)
            loss = next_token_loss(model, *batch.inputs)
            loss.backward()
            total += loss.detach()
        losses.append(total)
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-4)
    for packed_gradient, separate_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(packed_gradient, separate_gradient, rtol=1e-4, atol=1e-4)


def test_logits_in_parts_give_the_same_loss_and_gradients_and_are_not_kept(sequences, monkeypatch):
    vocabulary = 1000
    model = Transformer(qwen3_config(32, 1, vocabulary, 64))
    packed = pack(sequences, None, 64)
    batch = make_batch(packed, np.arange(len(packed.tokens)), CPU)
    results, kept = [], []

    def keep(tensor):
        kept[-1] = max(kept[-1], tensor.numel())
        return tensor

    for at_once in (losses.LOGITS_AT_ONCE, 50 * vocabulary):
        monkeypatch.setattr(losses, "LOGITS_AT_ONCE", at_once)
        kept.append(0)
        model.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = next_token_loss(model, *batch.inputs)
        loss.backward()
        results.append([loss.detach(), *(weight.grad.clone() for weight in model.parameters())])
    for whole, in_parts in zip(*results, strict=True):
        torch.testing.assert_close(in_parts, whole, rtol=1e-5, atol=1e-5)
    assert kept[0] == batch.inputs.tokens.numel() * vocabulary
    assert kept[1] < kept[0] / 4
