"""One protocol for every language model: the engine in this process, and OpenAI-compatible servers."""

from jielong.lm.cache import CachedModel, default_cache
from jielong.lm.opening import open_model
from jielong.lm.protocol import (
    Choice,
    Chunk,
    LanguageModel,
    Message,
    Prompt,
    Request,
    Response,
    Stream,
    TokenLogprob,
    Tool,
    UnsupportedError,
    Usage,
)
from jielong.lm.settings import RemoteSettings

__all__ = [
    "CachedModel",
    "Choice",
    "Chunk",
    "LanguageModel",
    "Message",
    "Prompt",
    "RemoteSettings",
    "Request",
    "Response",
    "Stream",
    "TokenLogprob",
    "Tool",
    "UnsupportedError",
    "Usage",
    "default_cache",
    "open_model",
]
