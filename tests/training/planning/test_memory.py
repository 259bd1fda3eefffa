"""The memory formula against the tensors of real networks."""

import pytest
import torch

from jielong.models import Transformer, qwen3_config
from jielong.training.losses import next_token_loss
from jielong.training.optimizer import build_optimizers
from jielong.training.planning import training_memory
from jielong.training.settings import OptimizerSettings


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weights_gradients_and_optimizer_take_what_the_formula_says(name):
    config = qwen3_config(64, 2, 300)
    model = Transformer(config)
    optimizers = build_optimizers(model, OptimizerSettings(name=name))
    model(torch.zeros(1, 4, dtype=torch.long), torch.arange(4).unsqueeze(0)).sum().backward()
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    for optimizer in optimizers:
        optimizer.step()
    memory = training_memory(config, 4, 32, name, 4, on_cpu=True)
    assert memory.weights == sum(weight.nbytes for weight in model.parameters())
    assert memory.gradients == sum(weight.grad.nbytes for weight in model.parameters())
    states = [tensor for optimizer in optimizers for state in optimizer.state.values()
              for tensor in state.values() if isinstance(tensor, torch.Tensor) and tensor.ndim]  # fmt: skip
    assert memory.optimizer == sum(tensor.nbytes for tensor in states)


@pytest.mark.parametrize("compute_bytes", [2, 4])
@pytest.mark.parametrize(
    ("shape", "vocabulary", "context"),
    [
        ((64, 2), 300, 64),
        ((128, 3), 1000, 128),
        ((128, 2), 300, 300),
        ((128, 2), 300, 512),
        ((128, 2), 300, 700),
    ],
)
def test_activations_are_about_what_a_forward_pass_leaves_behind(shape, vocabulary, context, compute_bytes):
    config = qwen3_config(*shape, vocabulary)
    model, rows = Transformer(config), 4
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = []
    tokens = torch.randint(0, vocabulary, (rows, context))
    positions = torch.arange(context).expand(rows, context)
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=compute_bytes == 2),
    ):
        next_token_loss(model, tokens, positions, torch.ones_like(tokens), tokens)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    found = sum(size for place, size in storages.items() if place not in weights)
    estimate = training_memory(config, rows, context, "adamw", compute_bytes, on_cpu=True).activations
    assert 0.9 < estimate / found < 1.1
