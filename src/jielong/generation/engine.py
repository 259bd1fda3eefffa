"""The engine: prompts in, continuations out, for one prompt or for many."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.generation.decoding import DecodingBatch, Sampler
from jielong.generation.scoring import score_continuations
from jielong.generation.settings import SamplingSettings, end_token_ids
from jielong.generation.stopping import TextStream
from jielong.models import Transformer, load_model
from jielong.tokenizer import Tokenizer

FinishReason = Literal["stop", "length"]

# Most rows that decode together. More rows make a step dearer but a token cheaper, up to about this many on a
# CPU.
_BATCH_ROWS = 128
# Most bytes of key-value cache at a time; a batch gets fewer rows when theirs are long.
_CACHE_BYTES = 2 << 30
# Rows that have ended are compacted away when they are this share of the batch.
_COMPACT_SHARE = 0.25
# How many of the likeliest tokens a Step shows.
_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Completion:
    """What was generated after one prompt."""

    ids: list[int]
    """Generated tokens; the end token, if one came, is the last."""
    text: str
    """Their text, without the end token and cut before a stop string."""
    finish_reason: FinishReason
    """`stop`: an end token or a stop string came; `length`: `max_tokens` or the context ran out."""


@dataclass(frozen=True, slots=True)
class Step:
    """One roll of the die."""

    token: int
    text: str
    """Text that can be shown now: whole characters only, perhaps none."""
    logprob: float
    """Natural log of the model's own probability of the token (no temperature, no filters)."""
    probability: float
    """Probability that the token was rolled with, after temperature, filters and penalty; 1 when greedy."""
    top: list[tuple[int, float]]
    """The model's likeliest tokens and their own probabilities, likeliest first."""
    top_rolled: list[tuple[int, float]]
    """The same tokens in the same order with the probabilities they were rolled with."""
    finish_reason: FinishReason | None
    """Set on the last step."""


@dataclass(slots=True)
class _Row:
    """A prompt on its way to a completion."""

    index: int
    prompt: Sequence[int]
    limit: int
    text: TextStream | None
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    finish_reason: FinishReason | None = None


@dataclass(slots=True)
class _Roll:
    """One step of a batch, slot by slot: logits [B, rows of the embedding], probabilities [B, tokens]."""

    tokens: list[int]
    logits: Tensor
    probabilities: Tensor | None


class Engine:
    """Generates with a model and its tokenizer.

    A row's tokens depend on its prompt, the settings and its place in the list of prompts, not on the other
    rows, except where two tokens are so close that the rounding of a differently shaped matrix product
    decides.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        end_ids: Collection[int] = (),
        defaults: SamplingSettings | None = None,
    ):
        """Take a model and its tokenizer.

        Args:
            model: in evaluation mode, on any device.
            tokenizer: its `eos_id` ends an answer.
            end_ids: further tokens that end an answer.
            defaults: settings for calls that give none.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.end_ids = frozenset([tokenizer.eos_id, *end_ids])
        self.defaults = defaults or SamplingSettings()
        # Embeddings may have more rows than the tokenizer has tokens; the spare ones mean nothing.
        self._vocabulary = min(model.config.vocab_size, tokenizer.vocab_size)

    @property
    def context_length(self) -> int:
        """Most tokens, prompt and answer together, that the model can hold."""
        return self.model.config.max_position_embeddings

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
        rows = [
            self._row(index, prompt, settings, bool(settings.stop)) for index, prompt in enumerate(prompts)
        ]
        for batch in self._batches(rows):
            for _ in self._decode(batch, settings):
                pass
        return [self._completion(row) for row in rows]

    def stream(
        self, prompt: Sequence[int], settings: SamplingSettings | None = None, *, index: int = 0
    ) -> Iterator[Step]:
        """Continue one prompt, step by step.

        Args:
            prompt: token ids, at least one.
            settings: how to sample; the model folder's defaults when None.
            index: the row whose numbers to roll with; `stream(p, s, index=i)` rolls as row i of `generate`.

        Yields:
            One Step per token. Their texts join to the text that `generate` returns.

        Raises:
            JielongError: as `generate`, before the first step.
        """
        settings = settings or self.defaults
        row = self._row(index, prompt, settings, True)
        return self._steps(row, settings)

    def score(self, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]) -> list[float]:
        """Log-probability (nats) of each continuation after its prompt, at temperature 1 and without filters.

        Raises:
            JielongError: if a prompt or a continuation is empty, or a pair is longer than the context.
        """
        return score_continuations(self.model, prompts, continuations)

    def _row(self, index: int, prompt: Sequence[int], settings: SamplingSettings, as_text: bool) -> _Row:
        if not prompt:
            raise JielongError(f"prompt {index} is empty; generation needs at least one token to go on from")
        room = self.context_length - len(prompt)
        if room < 1:
            raise JielongError(
                f"prompt {index} has {len(prompt)} tokens and the context holds {self.context_length}, "
                "which leaves no room for an answer; shorten the prompt"
            )
        if not 0 <= min(prompt) <= max(prompt) < self._vocabulary:
            raise JielongError(f"prompt {index} holds a token outside the vocabulary of {self._vocabulary}")
        text = TextStream(self.tokenizer, settings.stop) if as_text else None
        return _Row(index, prompt, min(settings.max_tokens, room), text)

    def _batches(self, rows: list[_Row]) -> Iterator[list[_Row]]:
        """Group rows of similar length, longest first, so that little of a batch is padding."""
        config = self.model.config
        bytes_per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        bytes_per_token *= next(self.model.parameters()).element_size()
        batch: list[_Row] = []
        for row in sorted(rows, key=lambda row: -len(row.prompt)):
            if batch:
                longest = len(batch[0].prompt)
                most_rows = max(1, _CACHE_BYTES // (bytes_per_token * (longest + batch[0].limit)))
                if len(batch) >= min(_BATCH_ROWS, most_rows) or len(row.prompt) + 128 < longest // 2:
                    yield batch
                    batch = []
            batch.append(row)
        if batch:
            yield batch

    def _decode(self, rows: list[_Row], settings: SamplingSettings) -> Iterator[_Roll]:
        """Roll until every row has ended, filling the rows; a roll is given after its tokens are taken."""
        with torch.inference_mode():
            prompts = [row.prompt for row in rows]
            batch = DecodingBatch(self.model, prompts)
            sampler = Sampler(
                settings,
                prompts,
                [row.index for row in rows],
                max(row.limit for row in rows),
                self._vocabulary,
                next(self.model.parameters()).device,
            )
            logits = batch.prefill()
        while True:
            with torch.inference_mode():
                tokens, probabilities = sampler.choose(logits[:, : self._vocabulary])
            roll = _Roll(tokens.tolist(), logits, probabilities)
            for row, token in zip(rows, roll.tokens, strict=True):
                if row.finish_reason is None:
                    self._accept(row, token)
            yield roll
            alive = [slot for slot, row in enumerate(rows) if row.finish_reason is None]
            if not alive:
                return
            with torch.inference_mode():
                if len(alive) <= len(rows) * (1 - _COMPACT_SHARE):
                    slots = torch.tensor(alive, device=tokens.device)
                    batch.keep(slots)
                    sampler.keep(slots)
                    tokens = tokens[slots]
                    rows = [rows[slot] for slot in alive]
                logits = batch.step(tokens)

    def _accept(self, row: _Row, token: int) -> None:
        row.ids.append(token)
        if token in self.end_ids:
            row.finish_reason = "stop"
        elif row.text is not None:
            row.pieces.append(row.text.push(token))
            if row.text.stopped:
                row.finish_reason = "stop"
        if row.finish_reason is None and len(row.ids) >= row.limit:
            row.finish_reason = "length"
        if row.finish_reason is not None and row.text is not None:
            row.pieces.append(row.text.flush())

    def _completion(self, row: _Row) -> Completion:
        assert row.finish_reason is not None  # noqa: S101 - _decode ends only when every row has
        if row.text is not None:
            return Completion(row.ids, "".join(row.pieces), row.finish_reason)
        # The same decoder as in a stream, run once at the end.
        text = TextStream(self.tokenizer)
        shown = row.ids[:-1] if row.ids[-1] in self.end_ids else row.ids
        pieces = [*(text.push(token) for token in shown), text.flush()]
        return Completion(row.ids, "".join(pieces), row.finish_reason)

    def _steps(self, row: _Row, settings: SamplingSettings) -> Iterator[Step]:
        shown = 0
        for roll in self._decode([row], settings):
            text = "".join(row.pieces[shown:])
            shown = len(row.pieces)
            yield _step(roll, self._vocabulary, text, row.finish_reason)


def load_engine(folder: Path, dtype: torch.dtype = torch.float32) -> Engine:
    """Load a model folder for generation, with the defaults and end tokens of its `generation_config.json`.

    Raises:
        JielongError: if the folder is not a model folder that can be read.
    """
    model = load_model(folder, dtype=dtype).eval()
    tokenizer = Tokenizer.load(folder)
    return Engine(
        model, tokenizer, end_ids=end_token_ids(folder), defaults=SamplingSettings.from_folder(folder)
    )


def _step(roll: _Roll, vocabulary: int, text: str, finish_reason: FinishReason | None) -> Step:
    """Describe slot 0 of a roll."""
    token = roll.tokens[0]
    with torch.inference_mode():
        logprobs = roll.logits[0].float().log_softmax(dim=-1)[:vocabulary]
        likeliest = logprobs.topk(min(_CANDIDATES, len(logprobs)))
        ids = likeliest.indices.tolist()
        own = likeliest.values.exp().tolist()
        if roll.probabilities is None:
            rolled = [float(candidate == token) for candidate in ids]
            probability = 1.0
        else:
            rolled = roll.probabilities[0, likeliest.indices].tolist()
            probability = float(roll.probabilities[0, token])
        logprob = float(logprobs[token])
    top = list(zip(ids, own, strict=True))
    return Step(token, text, logprob, probability, top, list(zip(ids, rolled, strict=True)), finish_reason)
