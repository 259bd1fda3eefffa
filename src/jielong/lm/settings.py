"""How to speak to a remote model."""

from typing import Any

from pydantic import Field

from jielong.core.recipe import Settings


class RemoteSettings(Settings):
    """How to speak to an OpenAI-compatible endpoint, and what it costs."""

    model: str | None = None
    """The model's name there; without one the server must have a single model."""
    key_env: str = "JIELONG_API_KEY"
    """Environment variable that holds the key, if the server asks for one. The key is never written."""
    timeout: float = Field(600.0, gt=0)
    """Seconds that an answer may take; in a stream, the seconds between two pieces."""
    connect_timeout: float = Field(10.0, gt=0)
    """Seconds that making the connection may take."""
    retries: int = Field(5, ge=0)
    """Further tries after a busy or failing server, a broken connection or a broken answer."""
    first_wait: float = Field(0.5, gt=0)
    """Seconds before the first further try; twice as long before each next one, up to `longest_wait`."""
    longest_wait: float = Field(60.0, gt=0)
    """Most seconds to wait before a try; a server that asks for more is given up."""
    concurrency: int = Field(8, ge=1)
    """Most requests on their way at the same time (streams not counted)."""
    context_length: int | None = Field(None, ge=1)
    """Most tokens, prompt and answer together, where it is known."""
    prompt_price: float = Field(0.0, ge=0)
    """Price of a million prompt tokens, in any currency."""
    cached_prompt_price: float | None = Field(None, ge=0)
    """Price of a million prompt tokens that the server had in its own cache; by default `prompt_price`."""
    completion_price: float = Field(0.0, ge=0)
    """Price of a million tokens of answers."""
    fields: dict[str, str | None] = Field(default_factory=dict)
    """Names of request fields where the server has its own, null for those that it does not take:
    {max_tokens: max_completion_tokens, seed: null}."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request that generates: {reasoning_effort: low}."""
