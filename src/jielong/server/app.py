"""The application: which address does what."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse

from jielong import __version__
from jielong.core.errors import JielongError
from jielong.server.chat import answer_chat
from jielong.server.chat_types import ChatRequest
from jielong.server.completion_types import CompletionRequest
from jielong.server.completions import answer_completion
from jielong.server.embeddings import EmbeddingRequest, answer_embeddings
from jielong.server.errors import AnthropicErrorBody, ApiError, ErrorBody, JsonResponse, answer_error
from jielong.server.gate import Gate, client_of
from jielong.server.generations import Desk
from jielong.server.limits import Limits
from jielong.server.message_types import MessageConversation, MessageRequest
from jielong.server.messages import answer_message, count_message_tokens
from jielong.server.metrics import Labels, Metrics
from jielong.server.response_types import ResponseRequest
from jielong.server.responses import answer_response
from jielong.server.served_model import ServedModel, find_served
from jielong.server.settings import ServerSettings
from jielong.server.tokenization import (
    DetokenizeRequest,
    TokenizeRequest,
    answer_detokenize,
    answer_tokenize,
    tokenizer_info,
)
from jielong.server.visitors import Visitors

_NOT_STORED = "nothing is stored here, so there is no response to come back to"


def build_app(models: Sequence[ServedModel], settings: ServerSettings, visitors: Visitors) -> FastAPI:
    """The whole application, for one process.

    Args:
        models: with different names; the first one answers where a route needs no name.
        settings: limits.
        visitors: who may ask.
    """
    limits, metrics = Limits(settings), Metrics()
    middleware = [Middleware(Gate, settings, visitors, limits, metrics)]
    if visitors.origins:
        # Before the gate: a browser asks without a key whether it may ask at all.
        middleware.insert(
            0,
            Middleware(
                CORSMiddleware,
                allow_origins=list(visitors.origins),
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
            ),
        )
    app = FastAPI(
        title="Jielong",
        version=__version__,
        summary="OpenAI's and Anthropic's interfaces to models of your own",
        docs_url=None,  # their pages would load scripts from elsewhere
        redoc_url=None,
        middleware=middleware,
        exception_handlers=dict.fromkeys(
            (ApiError, JielongError, RequestValidationError, HTTPException, Exception), answer_error
        ),
    )
    app.state.models = {model.name: model for model in models}
    app.state.desk = (settings, limits, metrics)
    app.include_router(_ROUTER)
    return app


async def _models(request: Request) -> dict[str, ServedModel]:
    models: dict[str, ServedModel] = request.app.state.models
    return models


async def _desk(request: Request) -> Desk:
    settings, limits, metrics = request.app.state.desk
    return Desk(settings, limits, metrics, client_of(request.scope), request.scope["jielong.began"])


def _named_or_first(models: dict[str, ServedModel], name: str | None) -> ServedModel:
    return next(iter(models.values())) if name is None else find_served(models, name)


Models = Annotated[dict[str, ServedModel], Depends(_models)]
DeskOf = Annotated[Desk, Depends(_desk)]

_ROUTER = APIRouter(
    responses={
        "4XX": {"model": ErrorBody, "description": "What is wrong with the request."},
        "5XX": {"model": ErrorBody, "description": "The server cannot answer now."},
    }
)


_ANTHROPIC_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": AnthropicErrorBody, "description": "What is wrong with the request."},
    "5XX": {"model": AnthropicErrorBody, "description": "The server cannot answer now."},
}
_STREAMABLE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, whole or as server-sent events.",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}


@_ROUTER.post("/v1/chat/completions", responses=_STREAMABLE)
async def chat_completions(body: ChatRequest, models: Models, desk: DeskOf) -> Response:
    """Go on with a conversation."""
    return await answer_chat(body, find_served(models, body.model), desk)


@_ROUTER.post("/v1/completions", responses=_STREAMABLE)
async def completions(body: CompletionRequest, models: Models, desk: DeskOf) -> Response:
    """Go on with a text."""
    return await answer_completion(body, find_served(models, body.model), desk)


@_ROUTER.post("/v1/responses", responses=_STREAMABLE)
async def responses(body: ResponseRequest, models: Models, desk: DeskOf) -> Response:
    """Go on with a conversation, in the newer form. Nothing is stored."""
    return await answer_response(body, find_served(models, body.model), desk)


@_ROUTER.get("/v1/responses/{response_id}")
async def stored_response(response_id: str) -> Response:  # noqa: ARG001
    """Always 404: nothing is stored."""
    raise ApiError(404, _NOT_STORED)


@_ROUTER.post("/v1/messages", responses={**_STREAMABLE, **_ANTHROPIC_ERRORS})
async def messages(body: MessageRequest, models: Models, desk: DeskOf) -> Response:
    """Go on with a conversation, in Anthropic's form."""
    return await answer_message(body, find_served(models, body.model), desk)


@_ROUTER.post("/v1/messages/count_tokens", responses=_ANTHROPIC_ERRORS)
async def count_tokens(body: MessageConversation, models: Models) -> Response:
    """Count the tokens of a conversation in Anthropic's form."""
    return await count_message_tokens(body, find_served(models, body.model))


@_ROUTER.post("/v1/embeddings")
async def embeddings(body: EmbeddingRequest, models: Models, desk: DeskOf) -> Response:
    """Give vectors for texts: the mean of their last hidden states, of length 1."""
    return await answer_embeddings(body, find_served(models, body.model), desk)


@_ROUTER.get("/v1/models")
async def list_models(models: Models) -> Response:
    """The served models."""
    return JsonResponse({"object": "list", "data": [_described(model) for model in models.values()]})


@_ROUTER.get("/v1/models/{name}")
async def one_model(name: str, models: Models) -> Response:
    """One of the served models."""
    return JsonResponse(_described(find_served(models, name)))


@_ROUTER.post("/tokenize")
async def tokenize(body: TokenizeRequest, models: Models) -> Response:
    """Token ids of a text or a conversation."""
    return await answer_tokenize(body, _named_or_first(models, body.model))


@_ROUTER.post("/detokenize")
async def detokenize(body: DetokenizeRequest, models: Models) -> Response:
    """The text of token ids."""
    return await answer_detokenize(body, _named_or_first(models, body.model))


@_ROUTER.get("/tokenizer_info")
async def info(models: Models, model: str | None = None) -> Response:
    """Special tokens, chat template and sizes."""
    return JsonResponse(tokenizer_info(_named_or_first(models, model)))


@_ROUTER.get("/healthz")
async def health() -> Response:
    """The server is up."""
    return JsonResponse({"status": "ok"})


@_ROUTER.get("/metrics", response_class=PlainTextResponse)
async def prometheus(models: Models, desk: DeskOf) -> Response:
    """Counts and durations, in Prometheus' text format."""
    gauges: list[tuple[str, str, Labels, float]] = []
    for model in models.values():
        labels = (("model", model.name),)
        gauges.append(("jielong_running", "Sequences that are decoding.", labels, model.thread.running))
        gauges.append(("jielong_waiting", "Sequences that wait.", labels, model.thread.waiting))
    return PlainTextResponse(desk.metrics.text(sorted(gauges)), media_type="text/plain; version=0.0.4")


def _described(model: ServedModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "jielong",
        "max_model_len": model.engine.context_length,
    }
