"""The engine: prompts in, continuations out, for one prompt or for many."""

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.generation.decoding import Decoder
from jielong.generation.prefill import Prefill, WaitingPrompt, next_group, queued
from jielong.generation.prefix_cache import PrefixCache
from jielong.generation.request import Completion, Grammar, Request, Step, TokenScore
from jielong.generation.rows import Rows
from jielong.generation.running import Generation
from jielong.generation.sampling import Dice
from jielong.generation.scoring import mean_hidden, score_continuations, token_logprobs
from jielong.generation.settings import SamplingSettings
from jielong.generation.speculative import Drafter
from jielong.models import Transformer
from jielong.models.precision import cache_dtype
from jielong.tokenizer import Tokenizer

# Most answers that decode together. More rows make a step dearer but a token cheaper, up to about this many
# on a CPU.
_ROWS = 128
# Most bytes of key-value cache at a time, by the longest that the answers may become.
_CACHE_BYTES = 2 << 30
# Prompt tokens computed in one step: few while answers are decoding, so that none of them waits for long.
_PREFILL_ALONE, _PREFILL_BESIDE = 4096, 512
# How many of the likeliest tokens a Step of `stream` shows.
_CANDIDATES = 8


class Engine:
    """Generates with a model and its tokenizer; one thread uses it at a time.

    Requests join between two steps and leave when they have ended. A request's tokens depend on its prompt,
    its settings and its stream of numbers, not on the others, except where two tokens are so close that the
    rounding of a differently shaped matrix product decides.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        end_ids: Collection[int] = (),
        defaults: SamplingSettings | None = None,
        prefix_bytes: int = 256 << 20,
        drafter: Drafter | None = None,
    ):
        """Take a model and its tokenizer.

        Args:
            model: in evaluation mode, on any device.
            tokenizer: its `eos_id` ends an answer.
            end_ids: further tokens that end an answer.
            defaults: settings for calls that give none.
            prefix_bytes: most bytes of keys and values of earlier prompts that are kept for prompts to come.
            drafter: guesses ahead for an answer that decodes alone.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.end_ids = frozenset([tokenizer.eos_id, *end_ids])
        self.defaults = defaults or SamplingSettings()
        # Embeddings may have more rows than the tokenizer has tokens; the spare ones mean nothing.
        self._vocabulary = min(model.config.vocab_size, tokenizer.vocab_size)
        weight = next(model.parameters())
        self._device = weight.device
        self._cache_dtype = cache_dtype(weight)
        self._waiting: list[WaitingPrompt] = []
        self._prefill: Prefill | None = None
        self._rows = Rows(model.config, self._cache_dtype, self._device)
        self._decoder = Decoder(model, self._rows, self._vocabulary, drafter)
        self._prefixes = PrefixCache(prefix_bytes)

    @property
    def context_length(self) -> int:
        """Most tokens, prompt and answer together, that the model can hold."""
        return self.model.config.max_position_embeddings

    @property
    def running(self) -> int:
        """Answers that are decoding."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Answers whose prompt has not been computed yet."""
        return queued(self._waiting) + (queued(self._prefill.group) if self._prefill else 0)

    def generate(
        self, prompts: Sequence[Sequence[int]], settings: SamplingSettings | None = None
    ) -> list[Completion]:
        """Continue every prompt, in batches.

        Args:
            prompts: token ids, each of at least one token.
            settings: how to sample; the model folder's defaults when None. Row i rolls with numbers from
                (seed, i).

        Returns:
            One completion per prompt, in the same order.

        Raises:
            JielongError: if a prompt is empty, leaves no room in the context, or holds an unknown token.
        """
        settings = settings or self.defaults
        return self.run([Request(prompt, settings, stream) for stream, prompt in enumerate(prompts)])

    def run(self, requests: Sequence[Request]) -> list[Completion]:
        """Answer every request, in batches.

        Returns:
            One completion per request, in the same order.

        Raises:
            JielongError: as `check`, before anything is computed; and when a grammar gets too complex.
        """
        for place, request in enumerate(requests):
            self.check(request, f"prompt {place}")
        # Long prompts first: what is then computed together is of similar length.
        order = sorted(range(len(requests)), key=lambda place: -len(requests[place].prompt))
        generations = {place: self._join(requests[place], followed=False) for place in order}
        try:
            while any(generation.finish_reason is None for generation in generations.values()):
                self.step()
        finally:
            for generation in generations.values():
                generation.cancel()
        return [generations[place].completion() for place in range(len(requests))]

    def stream(
        self,
        prompt: Sequence[int],
        settings: SamplingSettings | None = None,
        *,
        index: int = 0,
        grammar: Grammar | None = None,
    ) -> Iterator[Step]:
        """Continue one prompt, step by step.

        Args:
            prompt: token ids, at least one.
            settings: how to sample; the model folder's defaults when None.
            index: the stream of numbers to roll with; `stream(p, s, index=i)` rolls as row i of `generate`.
            grammar: the form that the answer must have.

        Yields:
            One Step per token. Their texts join to the text that `generate` returns.

        Raises:
            JielongError: as `generate`, before the first step; and when the grammar gets too complex.
        """
        request = Request(prompt, settings or self.defaults, index, _CANDIDATES, grammar)
        return self._steps(self.add(request))

    def check(self, request: Request, name: str = "the prompt") -> None:
        """Refuse a request that cannot be served.

        Raises:
            JielongError: if its prompt is empty, leaves no room in the context, or holds an unknown token.
        """
        prompt = request.prompt
        if not prompt:
            raise JielongError(f"{name} is empty; generation needs at least one token to go on from")
        if len(prompt) >= self.context_length:
            raise JielongError(
                f"{name} has {len(prompt)} tokens and the context holds {self.context_length}, "
                "which leaves no room for an answer; shorten the prompt"
            )
        tokens = [*prompt, *request.settings.logit_bias]
        if not 0 <= min(tokens) <= max(tokens) < self._vocabulary:
            raise JielongError(f"{name} holds a token outside the vocabulary of {self._vocabulary}")

    def add(self, request: Request) -> Generation:
        """Let a request join at the next step.

        Raises:
            JielongError: as `check`.
        """
        self.check(request)
        return self._join(request, followed=True)

    @torch.inference_mode()
    def step(self) -> bool:
        """Go on with everything: a part of the prompts that wait, and a token for every answer.

        Returns:
            Whether anything is left to do.
        """
        self._drop_cancelled()
        self._compute_prompts()
        # What came just now with the prompts is not a step old, but waiting for the next would gain nothing.
        self._keep_ended(self._decoder.advance())
        return bool(self._waiting or self._prefill or len(self._rows))

    def clear(self) -> None:
        """Cancel everything, as after an error in the middle of a step."""
        prompts = [*self._waiting, *(self._prefill.group if self._prefill else [])]
        for generation in [*self._rows, *(one for prompt in prompts for one in prompt.generations)]:
            generation.end_cancelled()
        self._waiting, self._prefill = [], None
        self._rows.clear()

    @torch.inference_mode()
    def compile(self, rows: Collection[int] = (1, 8, 32)) -> None:
        """Compile the step for these numbers of rows; a batch is filled up to the next of them.

        Takes 10 to 20 s each the first time; torch keeps the result on disk. The weights must not change
        afterwards. A batch of more rows than any of these runs uncompiled.
        """
        self._decoder.compile(rows)

    def score(self, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]) -> list[float]:
        """Log-probability (nats) of each continuation after its prompt, at temperature 1 and without filters.

        A prompt that stands before several continuations in a row is computed once.

        Raises:
            JielongError: if a prompt or a continuation is empty, or a pair is longer than the context.
        """
        return score_continuations(self.model, prompts, continuations)

    def token_logprobs(
        self, texts: Sequence[Sequence[int]], candidates: int = 0
    ) -> list[list[TokenScore | None]]:
        """What the model gives to each token of each text after those before it; the first is None.

        Raises:
            JielongError: if a text is empty or longer than the context.
        """
        return token_logprobs(self.model, texts, candidates, self._vocabulary)

    def embed(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """The mean of each text's last hidden states, float32 [N, D].

        Raises:
            JielongError: if a text is empty or longer than the context.
        """
        return mean_hidden(self.model, texts)

    def _join(self, request: Request, followed: bool) -> Generation:
        room = self.context_length - len(request.prompt)
        limit = min(request.settings.max_tokens, room)
        generation = Generation(request, self.tokenizer, self.end_ids, limit, self._vocabulary, followed)
        tokens = tuple(request.prompt)
        if self._waiting and self._waiting[-1].tokens == tokens:
            self._waiting[-1].generations.append(generation)
        else:
            self._waiting.append(WaitingPrompt(tokens, [generation]))
        return generation

    def _steps(self, generation: Generation) -> Iterator[Step]:
        try:
            while generation.finish_reason is None:
                self.step()
                yield from generation.take()
            if generation.error is not None:
                raise generation.error
        finally:
            generation.cancel()

    def _drop_cancelled(self) -> None:
        cancelled = [one for one in self._rows if one.cancelled]
        self._rows.drop(cancelled)
        for prompt in [*self._waiting, *(self._prefill.group if self._prefill else [])]:
            cancelled += [one for one in prompt.generations if one.cancelled]
            prompt.generations = [one for one in prompt.generations if not one.cancelled]
        for generation in cancelled:
            generation.end_cancelled()
        self._waiting = [prompt for prompt in self._waiting if prompt.generations]
        if self._prefill is not None and not queued(self._prefill.group):
            self._prefill = None

    def _compute_prompts(self) -> None:
        """A part of the group of prompts at hand; when it is complete, its answers get their first token."""
        if self._prefill is None:
            room = self._room()
            if not self._waiting or room < 1:
                return
            group, known = next_group(self._waiting, room, self._prefixes)
            self._prefill = Prefill(self.model, group, known, self._cache_dtype)
        prefill = self._prefill
        logits = prefill.advance(_PREFILL_BESIDE if len(self._rows) else _PREFILL_ALONE)
        if logits is None:
            return
        self._prefill = None
        owners = [
            (row, generation) for row, prompt in enumerate(prefill.group) for generation in prompt.generations
        ]
        for row, prompt in enumerate(prefill.group):
            self._prefixes.keep(prompt.tokens, prefill.cache, row)
        generations = [generation for _, generation in owners]
        rows = torch.tensor([row for row, _ in owners], device=logits.device)
        dice = Dice.of([generation.request.settings for generation in generations], self._device)
        self._decoder.roll(logits[rows], generations, dice)
        for row, prompt in enumerate(prefill.group):
            going_on = [one for one in prompt.generations if one.finish_reason is None]
            self._rows.add(going_on, prefill.cache, row, len(prompt.tokens))

    def _room(self) -> int:
        """Answers that may begin now; one at least when nothing is decoding."""
        if not len(self._rows):
            return _ROWS
        config = self.model.config
        slot_bytes = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        slot_bytes *= self._cache_dtype.itemsize
        longest = max(len(one.request.prompt) + one.limit for one in self._rows)
        return min(_ROWS, max(1, _CACHE_BYTES // (slot_bytes * longest))) - len(self._rows)

    def _keep_ended(self, ended: list[Generation]) -> None:
        """Free the places of answers that have ended; prompts to come may begin with what they computed."""
        for generation in ended:
            if generation.followed:
                # The next turn of a conversation begins with this one.
                self._prefixes.keep(generation.tokens[:-1], *self._rows.row_of(generation))
        self._rows.drop(ended)
