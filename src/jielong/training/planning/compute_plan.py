"""How large a network to train on how many tokens: the least expected loss for a budget."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jielong.core.errors import JielongError, UsageError
from jielong.models import ModelConfig, count_parameters, flops_per_token, qwen3_config
from jielong.models.sizes import SHAPES
from jielong.training.planning.memory import TrainingMemory, training_memory
from jielong.training.planning.scaling_law import CHINCHILLA, ScalingLaw
from jielong.training.planning.speed import TrainingSpeed
from jielong.training.settings import TrainingSettings

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12, "p": 1e15, "e": 1e18}


@dataclass(frozen=True)
class Budget:
    """What is given. Minutes, FLOPs, or a size and a number of tokens of which one may be missing."""

    minutes: float | None = None
    flops: float | None = None
    parameters: float | None = None
    tokens: float | None = None

    def __post_init__(self) -> None:
        given = [name for name, value in asdict(self).items() if value is not None]
        for name in given:
            if not getattr(self, name) > 0:
                raise UsageError(f"--{_option(name)} must be above 0, not {getattr(self, name):g}")
        if not given:
            raise UsageError(
                "say what is given: --minutes, --flops, --params or --tokens (or --machine, to measure only)"
            )
        bounds = [name for name in ("minutes", "flops", "tokens") if name in given]
        if len(bounds) > 1:
            raise UsageError(
                f"--{bounds[0]} and --{bounds[1]} both say how long to train; give one of them, "
                "with --params if the size is fixed"
            )


@dataclass(frozen=True)
class ComputePlan:
    """A network, what it will read, and what that costs on this machine."""

    width: int
    layers: int
    parameters: int
    tokens: float
    tokens_per_parameter: float
    flops: float
    loss: float
    """Expected held-out loss, in the law's unit."""
    seconds: float
    tokens_per_second: float
    compiled: bool
    memory: TrainingMemory
    law: ScalingLaw
    chinchilla: tuple[float, float]
    """The (parameters, tokens) that Chinchilla's own constants give for the same FLOPs."""
    reason: tuple[str, str]
    """Why this size, in Traditional Chinese and in English."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for results."""
        return {**asdict(self), "memory": {**asdict(self.memory), "total": self.memory.total}}


@dataclass(frozen=True)
class _Choice:
    """One shape and the tokens that the budget gives it."""

    config: ModelConfig
    tokens: float
    loss: float


def plan_compute(
    budget: Budget,
    speed: TrainingSpeed,
    law: ScalingLaw,
    vocab_size: int = 4096,
    training: TrainingSettings | None = None,
) -> ComputePlan:
    """Choose the shape of least expected loss, or fill in what a given size and number of tokens cost.

    A time budget is not turned into FLOPs first: each shape gets the tokens that this machine reads with it
    in the time, so what a vocabulary, attention and compiling cost takes part in the choice. Every token is
    taken to be new (Chinchilla's rule); on text that is read in several passes a larger network is better.

    Args:
        budget: what is given.
        speed: of this machine.
        law: how the loss falls.
        vocab_size: rows of the embedding.
        training: rows of a micro-batch, context, optimizer and precision, for time and memory; by default the
            stages' defaults.

    Raises:
        JielongError: the budget is too small for any network.
    """
    training = training or TrainingSettings(minutes=1)
    context = training.context
    choices = []
    for shape in SHAPES:
        config = qwen3_config(*shape, vocab_size, context)
        tokens = _tokens(budget, config, context, speed, law)
        if tokens >= context:
            choices.append(_Choice(config, tokens, law.loss(count_parameters(config), tokens)))
    if not choices:
        raise JielongError(f"the budget is too small: no network reads even {context} tokens with it")
    if budget.parameters is not None:
        chosen = _nearest(choices, budget.parameters)
    elif budget.tokens is not None:
        chosen = _nearest(choices, law.parameters_for(budget.tokens))
    else:
        chosen = min(choices, key=lambda choice: choice.loss)
    return _describe(budget, chosen, choices, speed, law, training)


def _nearest(choices: Sequence[_Choice], wished: float) -> _Choice:
    """The shape whose size is the least factor away."""
    return min(choices, key=lambda choice: abs(math.log(count_parameters(choice.config) / wished)))


def _tokens(
    budget: Budget, config: ModelConfig, context: int, speed: TrainingSpeed, law: ScalingLaw
) -> float:
    """The tokens that a budget gives a shape."""
    if budget.minutes is not None:
        return speed.tokens_within(config, context, 60 * budget.minutes)
    if budget.flops is not None:
        return budget.flops / flops_per_token(config, context)
    return budget.tokens if budget.tokens is not None else law.tokens_for(count_parameters(config))


def _describe(
    budget: Budget,
    chosen: _Choice,
    choices: list[_Choice],
    speed: TrainingSpeed,
    law: ScalingLaw,
    training: TrainingSettings,
) -> ComputePlan:
    config, context = chosen.config, training.context
    parameters = count_parameters(config)
    seconds = speed.seconds_for(config, context, chosen.tokens)
    if budget.minutes is not None:
        seconds = 60 * budget.minutes
    compiled = speed.worth_compiling(seconds)
    flops = chosen.tokens * flops_per_token(config, context)
    return ComputePlan(
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        parameters=parameters,
        tokens=chosen.tokens,
        tokens_per_parameter=chosen.tokens / parameters,
        flops=flops,
        loss=chosen.loss,
        seconds=seconds,
        tokens_per_second=speed.tokens_per_second(config, context, compiled),
        compiled=compiled,
        memory=training_memory(
            config,
            training.batch_rows,
            context,
            training.optimizer.name,
            2 if speed.precision == "bfloat16" else 4,
            on_cpu=speed.device == "cpu",
        ),
        law=law,
        chinchilla=CHINCHILLA.optimum(flops),
        reason=_reason(budget, chosen, choices),
    )


def _reason(budget: Budget, chosen: _Choice, choices: list[_Choice]) -> tuple[str, str]:
    if budget.parameters is not None:
        if budget.tokens or budget.minutes or budget.flops:
            return "最接近你指定大小的形狀", "the shape nearest to the size that you gave"
        return (
            "最接近你指定大小的形狀；token 數使多一個 token 與多一個參數的好處相當",
            "the shape nearest to the size that you gave, with as many tokens as make it the best size",
        )
    if budget.tokens is not None:
        return (
            "對這麼多 token 而言算力用得最好的大小",
            "the size for which so many tokens are the best use of the compute",
        )
    index = choices.index(chosen)
    beside = [
        f"{choice.config.hidden_size} × {choice.config.num_hidden_layers}: {choice.loss:.3f}"
        for choice in (*choices[:index][-1:], *choices[index + 1 :][:1])
    ]
    zh = f"預算內預期損失最低的形狀（相鄰形狀 {'，'.join(beside)}）"
    en = f"the least expected loss within the budget (neighbours {', '.join(beside)})"
    if index == len(choices) - 1:
        return f"{zh}；清單中沒有更大的形狀", f"{en}; the list has no larger shape"
    if index == 0:
        return f"{zh}；清單中沒有更小的形狀", f"{en}; the list has no smaller shape"
    return zh, en


def _option(name: str) -> str:
    return "params" if name == "parameters" else name


def parse_count(text: str, option: str) -> float:
    """Read a number that may end in k, M, G or B, T, P, E: `125M`, `2e15`, `1.5 B`.

    Raises:
        UsageError: it is not such a number.
    """
    found = re.fullmatch(r"\s*([\d,_]*\.?\d+(?:[eE][+-]?\d+)?)\s*([a-zA-Z]?)\s*", text)
    if found is None or found[2].lower() not in _UNITS:
        raise UsageError(f"{option} {text!r} is not a number; write for example 5600000, 5.6M or 2e15")
    return float(found[1].replace(",", "").replace("_", "")) * _UNITS[found[2].lower()]
