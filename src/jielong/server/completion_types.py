"""Requests of the older Completions route (platform.openai.com/docs/api-reference/completions/create)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from jielong.server.request_types import SamplingFields, StreamOptions

TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
Prompt = str | list[TokenId] | list[str] | list[list[TokenId]]


class CompletionRequest(SamplingFields):
    """Texts that the model is to go on with."""

    prompt: Prompt = ""
    """A text or its token ids, or a list of those. A text begins as a document began in pretraining, after
    the tokenizer's begin token; token ids are taken as they are."""
    max_tokens: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Most tokens to add; 16 without it."""
    echo: bool | None = None
    """Give the prompt too, before what follows it."""
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """Give the log-probability of each token (with echo, of the prompt's too) and of as many likeliest."""
    best_of: int | None = None
    """Accepted where it equals n."""
    suffix: None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise ValueError("best_of is not supported; ask for n answers")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        if isinstance(self.prompt, list) and not self.prompt:
            raise ValueError("prompt is an empty list")
        return self
