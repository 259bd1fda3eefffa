"""What a server lets its clients do."""

from pydantic import Field

from jielong.core.recipe import Settings


class ServerSettings(Settings):
    """Limits of a server. A request beyond one of them is refused with a sentence, never cut in silence."""

    max_body_bytes: int = Field(default=8 << 20, ge=1024)
    """Largest body of a request; beyond it: 413."""
    body_seconds: float = Field(default=30.0, gt=0)
    """Longest that a client may take to send its body; beyond it: 408."""
    max_requests: int = Field(default=256, ge=1)
    """Most requests, of all clients together, that are answered at once; beyond it: 503."""
    max_client_requests: int = Field(default=128, ge=1)
    """Most requests of one client (one address) that are answered at once; beyond it: 429."""
    max_sequences: int = Field(default=128, ge=1)
    """Most answers (prompts times n) that one request may ask for."""
    max_queue: int = Field(default=1024, ge=1)
    """Most sequences that may wait for a model; beyond it: 503."""
    max_request_tokens: int = Field(default=1 << 20, ge=1)
    """Most tokens, prompts and longest answers together, that one request may ask for."""
    client_tokens_per_minute: int = Field(default=0, ge=0)
    """Tokens, read and written, that one client may use in a minute; beyond it: 429. 0 sets no limit."""
    request_seconds: float = Field(default=600.0, gt=0)
    """Longest that one request may take; then what it still generates is given up."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """How long answers under way may go on after the server was asked to stop."""
