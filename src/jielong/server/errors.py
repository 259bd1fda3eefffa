"""Errors as clients expect them: a status, and a JSON body that says what is wrong."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from jielong.core.errors import JielongError

_LOG = logging.getLogger("jielong.server")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    **_TYPES,
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    500: "api_error",
    503: "overloaded_error",
}
_STATUS_TEXTS = {
    404: "there is nothing at this address; the routes are listed in /openapi.json",
    405: "this address does not take this method; the routes are listed in /openapi.json",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is an error, but for those of Anthropic's routes."""

    error: ErrorDetail


class AnthropicErrorDetail(BaseModel):
    """What went wrong."""

    type: str
    message: str


class AnthropicErrorBody(BaseModel):
    """The body of an error of Anthropic's routes."""

    type: Literal["error"]
    error: AnthropicErrorDetail


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        message: one sentence for the caller.
        code: OpenAI's code for this kind of error, if it has one.
        param: the part of the request that is wrong.
        retry_after: seconds after which it makes sense to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self, path: str) -> dict[str, Any]:
        """The JSON object that says it, in the shape of the route at this path."""
        if path.startswith("/v1/messages"):
            kind = _ANTHROPIC_TYPES.get(self.status, "invalid_request_error")
            return {"type": "error", "error": {"type": kind, "message": self.message}}
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to it."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after + 0.5)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    def response(self, path: str) -> Response:
        """The HTTP answer to a request at this path."""
        return JsonResponse(self.body(path), self.status, self.headers)


class JsonResponse(Response):
    """JSON in UTF-8; half a UTF-16 pair that a client sent comes back as a question mark."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of a body."""
        return to_json_bytes(content)


def to_json_bytes(content: Any) -> bytes:
    """Compact JSON in UTF-8, without NaN or infinities."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def api_error(error: Exception) -> ApiError:
    """The answer to an exception, whatever it was; our own failures say nothing of our inside."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, JielongError):
        return ApiError(400, str(error))
    if isinstance(error, RequestValidationError):
        return _of_validation(error.errors())
    if isinstance(error, HTTPException):
        text = _STATUS_TEXTS.get(error.status_code, str(error.detail))
        return ApiError(error.status_code, text)
    return ApiError(500, "the server failed at this request; its log says how")


async def answer_error(request: Request, error: Exception) -> Response:
    """Exception handler of the whole application."""
    told = api_error(error)
    if told.status == 500:
        _LOG.error("a request failed", exc_info=error)
    answer = told.response(request.url.path)
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


def _of_validation(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """Say the first of pydantic's errors in one sentence."""
    # Where a field may have one of several forms, the form that was meant is the one that got furthest.
    error = max(errors, key=lambda error: len(error["loc"]))
    place = ".".join(str(part) for part in error["loc"][1:])
    if error["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {error['ctx']['error']} at character {error['loc'][1]}")
    if error["type"] in ("model_attributes_type", "missing") and not place:
        return ApiError(400, "the body must be a JSON object, sent as application/json")
    if error["type"] == "extra_forbidden":
        return ApiError(400, f"{place} is not a known field; /openapi.json lists them", param=place)
    if error["type"] == "missing":
        return ApiError(400, f"{place} is missing", param=place)
    message = str(error["msg"]).removeprefix("Value error, ")
    return ApiError(400, f"{place}: {message}" if place else message, param=place or None)
