"""The models that a server answers with."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from jielong.generation import Engine, EngineThread
from jielong.server.errors import ApiError

T = TypeVar("T")


class ServedModel:
    """A model under the name that clients call it by, with its engine in a thread of its own."""

    def __init__(self, name: str, engine: Engine):
        self.name = name
        self.engine = engine
        """For what never changes: tokenizer, defaults, end tokens. All else goes through the thread."""
        self.thread = EngineThread(engine)
        self.created = int(time.time())

    async def call(self, function: Callable[[Engine], T]) -> T:
        """Run a function with the engine, between two of its steps; given up when the caller is cancelled."""
        return await asyncio.wrap_future(self.thread.call(function))

    def check_length(self, prompt: Sequence[int], room: int = 1) -> None:
        """Refuse a prompt that leaves too little of the context.

        Raises:
            ApiError: 400, with OpenAI's code for it.
        """
        context = self.engine.context_length
        if len(prompt) + room > context:
            raise ApiError(
                400,
                f"the prompt has {len(prompt)} tokens and the context of {self.name} holds {context}, the "
                "answer included; shorten it",
                code="context_length_exceeded",
            )


def find_served(models: Mapping[str, ServedModel], name: str) -> ServedModel:
    """The model of this name.

    Raises:
        ApiError: 404.
    """
    if name not in models:
        raise ApiError(
            404,
            f"there is no model {name!r} here; there is: {', '.join(models)}",
            code="model_not_found",
            param="model",
        )
    return models[name]
