"""An answer on its way: its tokens, its text, its numbers, and what it forbids."""

from collections.abc import Collection

import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.generation.request import Completion, FinishReason, GrammarState, Request, Step
from jielong.generation.sampling import penalize_repetition, uniform_stream
from jielong.generation.stopping import TextStream
from jielong.tokenizer import Tokenizer


class Generation:
    """One request in the engine. `take` gives its steps as they come; `cancel` ends it.

    Args:
        request: what is asked.
        tokenizer: turns tokens into text.
        end_ids: tokens that end an answer.
        limit: most tokens that the answer may have.
        vocabulary: tokens that can come.
        followed: whether somebody takes the steps; without, only the completion is kept.
    """

    def __init__(
        self,
        request: Request,
        tokenizer: Tokenizer,
        end_ids: Collection[int],
        limit: int,
        vocabulary: int,
        followed: bool,
    ) -> None:
        self.request = request
        self.ids: list[int] = []
        """Tokens of the answer so far."""
        self.finish_reason: FinishReason | None = None
        """None while it goes on."""
        self.error: Exception | None = None
        """Why the answer was ended, when its grammar failed on the way."""
        self.cached_tokens = 0
        """Tokens of the prompt that did not have to be computed."""
        self.followed = followed
        self.cancelled = False
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._vocabulary = vocabulary
        self.limit = limit
        settings = request.settings
        self._numbers = uniform_stream(settings.seed, request.stream) if settings.temperature > 0 else None
        # Text is worked out token by token only where somebody looks at it.
        self._text = TextStream(tokenizer, settings.stop) if followed or settings.stop else None
        self._pieces: list[str] = []
        self._steps: list[Step] = []
        self._grammar: GrammarState | None = request.grammar.begin() if request.grammar else None
        self._seen = _seen(request, vocabulary) if settings.repetition_penalty != 1 else None
        counting = settings.presence_penalty != 0 or settings.frequency_penalty != 0
        self._counts = torch.zeros(vocabulary) if counting else None
        self.edits = bool(
            self._grammar is not None
            or self._seen is not None
            or self._counts is not None
            or settings.logit_bias
        )
        """Whether this answer changes its logits before the die is rolled."""

    @property
    def position(self) -> int:
        """Position of the newest token: the last of the prompt, or of the answer."""
        return len(self.request.prompt) + len(self.ids) - 1

    @property
    def tokens(self) -> list[int]:
        """Prompt and answer so far."""
        return [*self.request.prompt, *self.ids]

    @property
    def stopped_by(self) -> str | None:
        """The stop string that ended the answer, if one did."""
        return self._text.stopped_by if self._text is not None else None

    def take(self) -> list[Step]:
        """Steps that have come since the last call."""
        steps, self._steps = self._steps, []
        return steps

    def cancel(self) -> None:
        """End the answer before its next token; without effect when it has ended."""
        self.cancelled = True

    def completion(self) -> Completion:
        """The whole answer, once it has ended.

        Raises:
            JielongError: if its grammar failed on the way.
        """
        if self.error is not None:
            raise self.error
        assert self.finish_reason is not None  # noqa: S101 - asked of ended answers only
        if self._text is not None:
            return Completion(self.ids, "".join(self._pieces), self.finish_reason)
        # The same decoder as in a stream, run once at the end.
        text = TextStream(self._tokenizer)
        shown = self.ids[:-1] if self.ids and self.ids[-1] in self._end_ids else self.ids
        pieces = [*(text.push(token) for token in shown), text.flush()]
        return Completion(self.ids, "".join(pieces), self.finish_reason)

    def number(self) -> float:
        """The next number in [0, 1) to roll with; 0 for a greedy answer."""
        return float(self._numbers.random()) if self._numbers is not None else 0.0

    def edited(self, logits: Tensor) -> Tensor:
        """The logits [V] of the next token after penalties, bias and grammar; an answer whose fail ends."""
        try:
            return self._edited(logits)
        except Exception as error:  # the other answers have no part in it
            self._fail(error)
            return logits

    def _edited(self, logits: Tensor) -> Tensor:
        settings = self.request.settings
        if self._seen is not None:
            logits = penalize_repetition(logits, self._seen.to(logits.device), settings.repetition_penalty)
        if self._counts is not None:
            counts = self._counts.to(logits.device)
            logits = logits - settings.frequency_penalty * counts - settings.presence_penalty * (counts > 0)
        if settings.logit_bias:
            tokens = torch.tensor(list(settings.logit_bias), device=logits.device)
            bias = torch.tensor(list(settings.logit_bias.values()), device=logits.device, dtype=logits.dtype)
            logits = logits.index_add(0, tokens, bias)
        if self._grammar is not None:
            allowed = self._grammar.allowed()
            if not allowed.any():
                raise JielongError("its grammar allows no token here, not even an end")
            logits = logits.masked_fill(~allowed.to(logits.device), -torch.inf)
        return logits

    def accept(self, token: int) -> str:
        """Take a rolled token; return the text that can be shown now. Sets `finish_reason` at the end."""
        if self.error is not None:  # what was rolled means nothing
            return ""
        self.ids.append(token)
        piece = ""
        if token in self._end_ids:
            self.finish_reason = "stop"
        elif self._text is not None:
            piece = self._text.push(token)
            if self._text.stopped_by is not None:
                self.finish_reason = "stop"
        if self.finish_reason is None:
            if self._seen is not None:
                self._seen[token] = True
            if self._counts is not None:
                self._counts[token] += 1
            if self._grammar is not None:
                try:
                    self._grammar.accept(token)
                except Exception as error:  # as in `edited`
                    self._fail(error)
            if self.finish_reason is None and len(self.ids) >= self.limit:
                self.finish_reason = "length"
        if self.finish_reason is not None and self._text is not None:
            piece += self._text.flush()
        if self._text is not None:
            self._pieces.append(piece)
        return piece

    def add_step(self, token: int, text: str, logits: Tensor, rolled: Tensor | None) -> None:
        """Keep a step for whoever follows; one in which the answer failed is none.

        Args:
            token: what was rolled.
            text: what can be shown of it.
            logits: the model's own, [rows of the embedding].
            rolled: probabilities [V] of the die; None where the likeliest token was taken.
        """
        candidates = self.request.candidates
        if self.error is not None:
            return
        if candidates is None:
            self._steps.append(Step(token, text, None, None, [], [], self.finish_reason))
            return
        logprobs = logits.log_softmax(dim=-1)[: self._vocabulary]
        likeliest = logprobs.topk(min(candidates, len(logprobs)))
        ids = likeliest.indices.tolist()
        if rolled is None or self.request.settings.temperature == 0:
            die = [float(candidate == token) for candidate in ids]
            probability = 1.0
        else:
            die = rolled[likeliest.indices].tolist()
            probability = float(rolled[token])
        top = list(zip(ids, likeliest.values.exp().tolist(), strict=True))
        top_rolled = list(zip(ids, die, strict=True))
        logprob = float(logprobs[token])
        self._steps.append(Step(token, text, logprob, probability, top, top_rolled, self.finish_reason))

    def _fail(self, error: Exception) -> None:
        self.error, self.finish_reason = error, "cancelled"

    def end_cancelled(self) -> None:
        """End here; a follower gets a last step without a token of its own (-1)."""
        if self.finish_reason is None:
            self.finish_reason = "cancelled"
            rest = self._text.flush() if self._text is not None else ""
            self._pieces.append(rest)
            self._steps.append(Step(-1, rest, None, None, [], [], "cancelled"))


def _seen(request: Request, vocabulary: int) -> Tensor:
    seen = torch.zeros(vocabulary, dtype=torch.bool)
    seen[torch.tensor(list(request.prompt))] = True
    return seen
