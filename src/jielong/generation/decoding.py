"""One pass of the network for all answers that decode: the next token of each, or several of one."""

from collections.abc import Collection

import torch
from torch import Tensor

from jielong.generation.compiled import CompiledStep
from jielong.generation.rows import Rows
from jielong.generation.running import Generation
from jielong.generation.sampling import Dice, adjusted_probabilities, likeliest_tokens, roll
from jielong.generation.speculative import MOST_GUESSES, Choose, Draft, Drafter
from jielong.models import CacheRows, Transformer
from jielong.models.precision import cache_dtype


class Decoder:
    """Gives answers that have a token already their next ones.

    Args:
        model: in evaluation mode.
        rows: the answers, with their caches.
        vocabulary: tokens that can come.
        drafter: guesses ahead for an answer that decodes alone.
    """

    def __init__(
        self, model: Transformer, rows: Rows, vocabulary: int, drafter: Drafter | None = None
    ) -> None:
        self._model, self._rows, self._vocabulary, self._drafter = model, rows, vocabulary, drafter
        self._device = next(model.parameters()).device
        # By rows of the cache, and tokens of a row besides its newest one.
        self._compiled: dict[tuple[int, int], CompiledStep] = {}
        self._dice = (-1, Dice.of([]))

    def compile(self, rows: Collection[int]) -> None:
        """Compile the pass for these numbers of rows, and that which checks guesses."""
        dtype = cache_dtype(next(self._model.parameters()))
        shapes = [(size, 0) for size in sorted(rows)]
        if self._drafter is not None:
            # Guesses are for an answer that is alone, and its cache mostly is the smallest.
            shapes += [(size, MOST_GUESSES) for size in sorted(rows)[:1]]
        self._compiled = {
            (size, ahead): CompiledStep(self._model, size, dtype, ahead) for size, ahead in shapes
        }
        self._rows.sizes = tuple(sorted(rows))

    def advance(self) -> list[Generation]:
        """Give every answer its next token, or several where guesses are right.

        Returns:
            The answers that have ended with it. They keep their rows until they are dropped.
        """
        if not len(self._rows):
            return []
        draft = self._draft()
        parts = self._rows.parts(MOST_GUESSES if draft.tokens else 0)
        generations = list(self._rows)
        logits = self._logits(generations, draft, parts)
        if self._dice[0] != self._rows.version:
            settings = [generation.request.settings for generation in generations]
            self._dice = (self._rows.version, Dice.of(settings, self._device))
        one = generations[0]
        self.roll(logits[:, 0], generations, self._dice[1], draft.choice_at(0, one.number))
        for place, guess in enumerate(draft.tokens, 1):
            if one.finish_reason is not None or one.ids[-1] != guess:
                break
            self.roll(logits[:, place], generations, self._dice[1], draft.choice_at(place, one.number))
        return [generation for generation in generations if generation.finish_reason is not None]

    def roll(self, logits: Tensor, generations: list[Generation], dice: Dice, choose: Choose = roll) -> None:
        """Give each answer its next token.

        Args:
            logits: [B, rows of the embedding], the model's own.
            generations: the B answers.
            dice: theirs.
            choose: how a token is chosen from what the dice show.
        """
        own = logits.float()
        logits = own[:, : self._vocabulary]
        edited = [row for row, generation in enumerate(generations) if generation.edits]
        if edited:
            logits = logits.clone()
            for row in edited:
                logits[row] = generations[row].edited(logits[row])
        probabilities = None
        if dice.temperature is None:
            chosen = likeliest_tokens(logits)
        else:
            probabilities = adjusted_probabilities(logits, dice)
            numbers = [generation.number() for generation in generations]
            chosen = choose(probabilities, torch.tensor(numbers, dtype=torch.float64, device=logits.device))
            if dice.greedy is not None:
                chosen = torch.where(dice.greedy, likeliest_tokens(logits), chosen)
        for row, (generation, token) in enumerate(zip(generations, chosen.tolist(), strict=True)):
            piece = generation.accept(token)
            if generation.followed:
                rolled = None if probabilities is None else probabilities[row]
                generation.add_step(token, piece, own[row], rolled)

    def _draft(self) -> Draft:
        """Guesses for an answer that is alone; with several, a pass is busy enough without."""
        if self._drafter is None or len(self._rows) > 1:
            return Draft([])
        generation = next(iter(self._rows))
        # A compiled pass writes MOST_GUESSES keys and values, however few are guessed.
        if generation.position + MOST_GUESSES >= self._model.config.max_position_embeddings:
            return Draft([])
        wanted = min(MOST_GUESSES, generation.limit - len(generation.ids) - 1)
        return self._drafter.propose(generation, wanted)

    def _logits(self, generations: list[Generation], draft: Draft, parts: list[CacheRows]) -> Tensor:
        """Logits [B, T, rows of the embedding] after each answer's newest token and the guesses for it."""
        tokens = torch.tensor([[one.ids[-1], *draft.tokens] for one in generations], device=self._device)
        positions = torch.tensor([[one.position] for one in generations], device=self._device)
        ahead = MOST_GUESSES if draft.tokens else 0
        if not all((part.cache.batch, ahead) in self._compiled for part in parts):
            positions = positions + torch.arange(tokens.shape[1], device=self._device)
            return self._model.head(self._model(tokens, positions, cache=parts))
        logits, start = [], 0
        for part in parts:
            rows = slice(start, start + part.rows)
            logits.append(self._compiled[part.cache.batch, ahead](tokens[rows], positions[rows], part))
            start += part.rows
        return torch.cat(logits) if len(logits) > 1 else logits[0]
