"""Who may ask a server."""

import hmac
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from jielong.core.errors import UsageError
from jielong.server.address import is_loopback
from jielong.server.errors import ApiError

KEY_VARIABLE = "JIELONG_API_KEY"
"""The environment variable with the key; it stands neither on the command line nor in a log."""
_OPEN_PATHS = {"/healthz"}
"""What may be asked without a key."""


@dataclass(frozen=True, slots=True)
class Visitors:
    """Who may ask."""

    key: bytes | None
    """What a client has to know; None lets everybody in who can reach the server."""
    hosts: Collection[str] | None
    """Names that a request may call the server by; None takes any. Where only this machine reaches it, this
    keeps out a web page whose name was made to point here (DNS rebinding)."""
    origins: Collection[str]
    """Web pages, besides the server's own, that may ask."""


def visitors_of(taken: socket.socket, key: str | None, origins: Sequence[str]) -> Visitors:
    """Who may ask at a socket.

    Raises:
        UsageError: if others can reach the socket and there is no key.
    """
    local = is_loopback(taken)
    if not local and not key:
        raise UsageError(
            f"beyond this machine a server needs a key: set the environment variable {KEY_VARIABLE} "
            "to one that nobody guesses, or leave --host away"
        )
    hosts = {"localhost", "127.0.0.1", "::1", taken.getsockname()[0]} if local else None
    return Visitors(key.encode() if key else None, hosts, frozenset(origins))


def check_visitor(visitors: Visitors, scope: Scope) -> None:
    """Refuse a request that may not be made.

    Raises:
        ApiError: 403 for a web page that is not allowed, 401 without the right key.
    """
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if visitors.hosts is not None and _name_in(host) not in visitors.hosts:
        raise ApiError(403, "this server answers on its own machine only, by the name localhost")
    origin = headers.get("origin")
    if origin is not None and origin not in visitors.origins and origin.partition("://")[2] != host:
        raise ApiError(403, "web pages of this origin may not ask; start the server with --cors ORIGIN")
    if visitors.key is None or scope["path"] in _OPEN_PATHS:
        return
    scheme, _, token = headers.get("authorization", "").partition(" ")
    # OpenAI's clients send the key as a bearer token, Anthropic's in a header of its own.
    given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    if not hmac.compare_digest(given.encode("latin-1"), visitors.key):
        raise ApiError(401, "this server needs its key, as Authorization: Bearer KEY", code="invalid_api_key")


def _name_in(host: str) -> str | None:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # a bracket without its other half
        return None
