"""The engine that rolls the die: sampling, streaming, scoring and chat."""

from jielong.generation.chat import Answer, ChatSession, MessageTooLongError
from jielong.generation.complete import complete
from jielong.generation.engine import Completion, Engine, FinishReason, Step, load_engine
from jielong.generation.settings import SamplingSettings
from jielong.generation.stopping import StopStrings, TextStream

__all__ = [
    "Answer",
    "ChatSession",
    "Completion",
    "Engine",
    "FinishReason",
    "MessageTooLongError",
    "SamplingSettings",
    "Step",
    "StopStrings",
    "TextStream",
    "complete",
    "load_engine",
]
