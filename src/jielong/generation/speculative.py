"""Speculative decoding: guess the next tokens cheaply, then check all guesses in one pass of the network.

For one answer a pass costs nearly the same for a few tokens as for one, because most of it is reading the
weights. Where a guess is wrong the answer goes on with a token that is right, so nothing but speed depends on
the guesses: the answer's distribution is exactly that of rolling token by token.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from jielong.generation.compiled import CompiledStep
from jielong.generation.running import Generation
from jielong.generation.sampling import Dice, adjusted_probabilities, likeliest_tokens, roll
from jielong.models import CacheRows, KVCache, Transformer
from jielong.models.precision import cache_dtype

MOST_GUESSES = 5
"""Tokens that are guessed at a time."""
# Chooses a token for each row from probabilities [B, V] and numbers in [0, 1), [B].
Choose = Callable[[Tensor, Tensor], Tensor]
# Slots of a drafter's first cache.
_SMALLEST = 256
# Tokens that a repeated passage is recognised by: the longest first, as a longer one is a surer sign.
_NGRAMS = (3, 2)


@dataclass(frozen=True, slots=True)
class Draft:
    """Guesses for an answer's next tokens."""

    tokens: list[int]
    probabilities: Tensor | None = None
    """[tokens, V] that each guess was rolled with; None for guesses that were not rolled but sure."""

    def choice_at(self, place: int, number: Callable[[], float]) -> Choose:
        """How the token is chosen where guess number `place` stands, or after the last guess.

        A guess that was not rolled is right when the die shows it, so that the same tokens come as without
        guesses. Of a guess that was rolled with q(x), where the die has p(x), the share min(1, p(x) / q(x))
        is kept (Leviathan et al. 2023, arXiv 2211.17192, section 2.3).

        Args:
            place: from 0 to the number of guesses.
            number: gives a further number in [0, 1) to roll with.
        """
        if self.probabilities is None or place == len(self.tokens):
            return roll
        guess, guessed = self.tokens[place], self.probabilities[place : place + 1]

        def choose(probabilities: Tensor, numbers: Tensor) -> Tensor:
            if float(numbers) * float(guessed[0, guess]) < float(probabilities[0, guess]):
                return torch.tensor([guess], device=probabilities.device)
            return roll(rest_after_rejection(probabilities, guessed), torch.full_like(numbers, number()))

        return choose


class Drafter(Protocol):
    """Guesses how an answer goes on."""

    def propose(self, generation: Generation, count: int) -> Draft:
        """Guess up to `count` tokens after those that the answer has, or none."""


class PromptLookup:
    """Guesses that what came before in the prompt or the answer comes again.

    The newest tokens are looked for in the text before them, and what followed there is proposed (Saxena
    2023, github.com/apoorvumang/prompt-lookup-decoding). Good for summaries, quotes, corrections and code.
    """

    def propose(self, generation: Generation, count: int) -> Draft:
        """Guess what followed the last place where the newest tokens stood."""
        tokens = array("I", generation.tokens)
        for length in _NGRAMS:
            end = _last_place_after(tokens, length)
            if end:
                return Draft(list(tokens[end : end + count]))
        return Draft([])


class ModelDrafter:
    """Guesses with a smaller model that has the same tokens.

    It keeps the keys and values of one text, and computes only what is new in the next one.

    Args:
        model: in evaluation mode, on the device of the model that checks.
        vocabulary: tokens that can come.
    """

    def __init__(self, model: Transformer, vocabulary: int) -> None:
        weight = next(model.parameters())
        self._model, self._vocabulary, self._device = model, vocabulary, weight.device
        self._dtype = cache_dtype(weight)
        self._cache = KVCache.allocate(model.config, 1, 0, self._dtype, weight.device)
        self._known: list[int] = []
        """Tokens whose keys and values stand in the cache."""
        self._step: CompiledStep | None = None

    @torch.inference_mode()
    def compile(self) -> None:
        """Compile the model's step; its weights must not change afterwards."""
        self._step = CompiledStep(self._model, 1, self._dtype)

    def propose(self, generation: Generation, count: int) -> Draft:
        """Roll the small model's die, with the answer's own temperature and filters."""
        tokens = generation.tokens
        count = min(count, self._model.config.max_position_embeddings - len(tokens))
        dice = Dice.of([generation.request.settings], self._device)
        del self._known[_common_length(self._known, tokens[:-1]) :]
        start = len(tokens)
        rolled = []
        for _ in range(count):
            logits = self._logits(tokens)
            if dice.temperature is None:
                tokens += likeliest_tokens(logits).tolist()
            else:
                rolled.append(adjusted_probabilities(logits, dice))
                number = torch.tensor([generation.number()], dtype=torch.float64, device=self._device)
                tokens += roll(rolled[-1], number).tolist()
        return Draft(tokens[start:], torch.cat(rolled) if rolled else None)

    def _logits(self, tokens: list[int]) -> Tensor:
        """Logits [1, V] after these tokens, which begin with those that are known."""
        self._make_room(len(tokens))
        new = len(tokens) - len(self._known)
        # Two are new when all guesses were right: the last of them, and the token that came after it.
        size = 1 if self._step is not None and new <= 2 else new
        while len(self._known) < len(tokens):
            logits = self._pass(tokens[len(self._known) :][:size])
        return logits[:, : self._vocabulary]

    def _pass(self, tokens: list[int]) -> Tensor:
        """Compute the tokens after those that are known; logits [1, V] after the last."""
        start = len(self._known)
        end = start + len(tokens)
        new = torch.tensor([tokens], device=self._device)
        positions = torch.arange(start, end, device=self._device)[None]
        if self._step is not None and len(tokens) == 1:
            logits = self._step(new, positions, CacheRows(self._cache, 0, 1, end))[:, 0]
        else:
            rows = CacheRows(self._cache, 0, 1, end, aligned=len(tokens) == 1)
            logits = self._model.head(self._model(new, positions, cache=[rows])[:, -1])
        self._known += tokens
        return logits

    def _make_room(self, length: int) -> None:
        if length > self._cache.length:
            room = min(max(_SMALLEST, 2 * length), self._model.config.max_position_embeddings)
            longer = KVCache.allocate(self._model.config, 1, room, self._dtype, self._device)
            longer.copy_row(0, self._cache, 0, len(self._known))
            self._cache = longer


def rest_after_rejection(probabilities: Tensor, guessed: Tensor) -> Tensor:
    """What to roll with after a guess was rejected (as above; Chen et al. 2023, arXiv 2302.01318, theorem 1).

    Guesses that are kept give x as often as q(x) min(1, p(x) / q(x)) = min(p(x), q(x)). The rest of p,
    max(0, p - q), has to come from here.

    Args:
        probabilities: p [B, V].
        guessed: q [B, V].

    Returns:
        [B, V], not scaled to add up to 1.
    """
    rest = (probabilities - guessed).clamp_(min=0)
    # Where p and q are equal but for rounding, it may leave nothing.
    return rest if bool(rest.any()) else probabilities


def _last_place_after(tokens: "array[int]", length: int) -> int:
    """Where the text goes on after the last place before its end of its newest tokens; 0 without one."""
    size = tokens.itemsize
    data, newest = tokens.tobytes(), tokens[-length:].tobytes()
    end = len(data) - size
    while (found := data.rfind(newest, 0, end)) >= 0:
        if found % size == 0:
            return found // size + length
        end = found + len(newest) - 1
    return 0


def _common_length(some: Sequence[int], others: Sequence[int]) -> int:
    """How many first tokens are the same."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(some), len(others)))
