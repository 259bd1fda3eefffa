"""The engine that rolls the die: sampling, streaming, scoring and chat."""

from jielong.generation.chat import Answer, ChatSession, MessageTooLongError
from jielong.generation.complete import complete
from jielong.generation.engine import Engine
from jielong.generation.loading import load_engine
from jielong.generation.request import (
    Completion,
    FinishReason,
    Grammar,
    GrammarState,
    Request,
    Step,
    TokenScore,
)
from jielong.generation.running import Generation
from jielong.generation.settings import SamplingSettings
from jielong.generation.speculative import Draft, Drafter, ModelDrafter, PromptLookup
from jielong.generation.stopping import StopStrings, TextStream
from jielong.generation.thread import EngineThread, Ticket

__all__ = [
    "Answer",
    "ChatSession",
    "Completion",
    "Draft",
    "Drafter",
    "Engine",
    "EngineThread",
    "FinishReason",
    "Generation",
    "Grammar",
    "GrammarState",
    "MessageTooLongError",
    "ModelDrafter",
    "PromptLookup",
    "Request",
    "SamplingSettings",
    "Step",
    "StopStrings",
    "TextStream",
    "Ticket",
    "TokenScore",
    "complete",
    "load_engine",
]
