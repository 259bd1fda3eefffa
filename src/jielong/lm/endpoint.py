"""One HTTP endpoint that speaks JSON: keys, time-outs, and further tries after what passes by itself."""

import contextlib
import email.utils
import json
import os
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from jielong.core.errors import JielongError, UsageError
from jielong.lm.settings import RemoteSettings
from jielong.lm.sse import event_data

T = TypeVar("T")

# What may pass by itself: busy, too early, broken inside or behind a gateway (529: Anthropic, overloaded).
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_SHOWN = 300  # characters of a server's message


class EndpointError(JielongError):
    """The server refused, failed, or cannot be reached."""

    def __init__(
        self, message: str, status: int | None = None, *, passing: bool = False, asked: float = 0.0
    ) -> None:
        """Say what went wrong.

        Args:
            message: for people, in one line.
            status: of the HTTP response; None where there was none.
            passing: whether a further try may go well.
            asked: seconds that the server wants to be left alone for.
        """
        super().__init__(message)
        self.status = status
        self.passing = passing
        self.asked = asked


class Endpoint:
    """A base URL, spoken to by any number of threads."""

    def __init__(self, url: str, settings: RemoteSettings) -> None:
        """Take the URL; nothing is sent yet.

        Raises:
            UsageError: it is not an http(s) URL, holds a password, or the key cannot be sent.
        """
        self.url, host = _base_url(url)
        self._settings = settings
        self._key = _key_from_environment(settings.key_env)
        self._random = random.Random()
        self._closed = threading.Event()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.concurrency),
            # A proxy for the internet cannot reach this machine's own servers.
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"

    def close(self) -> None:
        """End waiting tries and give up the connections."""
        self._closed.set()
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """Read an object."""
        return self._tries(lambda: self._object("GET", path, None), self._closed)

    def post(
        self, path: str, body: Mapping[str, Any], stopped: threading.Event | None = None
    ) -> dict[str, Any]:
        """Send an object and read one.

        Args:
            path: below the base URL; one that begins with a slash, beside its `/v1`.
            body: what to send.
            stopped: ends the waiting before a further try.

        Raises:
            UsageError: the body is not JSON.
            EndpointError: the server refused, or did not do it in the tries that the settings allow.
        """
        data = _encode(body)
        return self._tries(lambda: self._object("POST", path, data), stopped or self._closed)

    def stream(self, path: str, body: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        """Send an object and read the objects that come as events.

        Only a failure before the first event is tried again: what was shown cannot be taken back.
        """
        data = _encode(body)

        def begin() -> tuple[Generator[dict[str, Any], None, None], dict[str, Any]]:
            events = self._events(path, data)
            first = next(events, None)
            if first is None:
                raise EndpointError(f"{self.url} ended its answer before it began", passing=True)
            return events, first

        events, first = self._tries(begin, self._closed)
        try:
            yield first
            yield from events
        finally:
            events.close()

    # --- one try

    def _object(self, method: str, path: str, data: bytes | None) -> dict[str, Any]:
        deadline = time.monotonic() + self._settings.timeout
        content = bytearray()
        with self._response(method, path, data) as response:
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() > deadline:
                    raise self._late()
        return self._parse(bytes(content))

    def _events(self, path: str, data: bytes) -> Generator[dict[str, Any], None, None]:
        with self._response("POST", path, data) as response:
            for text in event_data(response.iter_bytes()):
                if text == "[DONE]":
                    return
                event = self._parse(text)
                if event.get("error"):
                    raise EndpointError(f"{self.url} broke off: {self._told(event)}", passing=True)
                yield event

    @contextlib.contextmanager
    def _response(self, method: str, path: str, data: bytes | None) -> Iterator[httpx.Response]:
        """A response of status 200 whose body is still to be read."""
        headers = {"Content-Type": "application/json"} if data is not None else {}
        if self._closed.is_set():
            raise EndpointError(f"the connection to {self.url} is closed")
        try:
            with self._client.stream(method, self._join(path), content=data, headers=headers) as response:
                if response.status_code != 200:
                    response.read()
                    raise self._refusal(response)
                yield response
        except httpx.TimeoutException:
            raise self._late() from None
        except httpx.RequestError as error:
            reason = self._line(str(error)) or type(error).__name__
            raise EndpointError(f"cannot speak with {self.url}: {reason}", passing=True) from None

    def _join(self, path: str) -> str:
        return f"{self.url.removesuffix('/v1')}{path}" if path.startswith("/") else f"{self.url}/{path}"

    def _parse(self, content: bytes | str) -> dict[str, Any]:
        try:
            value = json.loads(content)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise EndpointError(f"{self.url} answered something that is not a JSON object", passing=True)
        return value

    def _refusal(self, response: httpx.Response) -> EndpointError:
        status = response.status_code
        try:
            told: Any = response.json()
        except ValueError:
            told = response.text
        message = f"{self.url} answered {status}: {self._told(told) or response.reason_phrase}"
        if status in (401, 403):
            message += f"; the key is read from the environment variable {self._settings.key_env}"
        elif 300 <= status < 400:
            message += f"; it points to {self._line(response.headers.get('location', ''))}, name that URL"
        # OpenAI gives an empty account the status of a busy server.
        passing = status in _PASSING and "insufficient_quota" not in response.text
        return EndpointError(message, status, passing=passing, asked=_retry_after(response.headers))

    def _told(self, answer: Any) -> str:
        """What a server says of an error: in OpenAI's form, FastAPI's, or any other."""
        for key in ("error", "detail", "message"):
            if isinstance(answer, dict) and answer.get(key):
                answer = answer[key]
        return self._line(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))

    def _line(self, text: str) -> str:
        """One line, of bearable length, in which the key does not stand though a server repeated it."""
        line = " ".join(text.split())
        if self._key:
            line = line.replace(self._key, "***")
        return line[:_SHOWN]

    def _late(self) -> EndpointError:
        return EndpointError(
            f"{self.url} did not answer within {self._settings.timeout:g} seconds", passing=True
        )

    # --- further tries

    def _tries(self, attempt: Callable[[], T], stopped: threading.Event) -> T:
        """Try until it goes well: exponential back-off with jitter, and as long as the server asks for."""
        settings = self._settings
        for number in range(settings.retries + 1):
            try:
                return attempt()
            except EndpointError as failure:
                if not failure.passing:
                    raise
                if number == settings.retries:
                    raise EndpointError(f"{failure} (tried {number + 1} times)", failure.status) from None
                if failure.asked > settings.longest_wait:
                    raise EndpointError(
                        f"{failure}; it asks to wait {failure.asked:,.0f} seconds: try later, or set "
                        f"longest_wait", failure.status
                    ) from None  # fmt: skip
                backoff = min(settings.longest_wait, settings.first_wait * 2**number)
                # Jitter spreads those who were sent away together (AWS, "Exponential Backoff And Jitter").
                jitter = self._random.random()
                pause = max(failure.asked * (1 + 0.1 * jitter), backoff * (0.5 + 0.5 * jitter))
                if self._is_ended_within(pause, stopped):
                    raise
        raise AssertionError("the last try returns or raises")

    def _is_ended_within(self, seconds: float, stopped: threading.Event) -> bool:
        """Wait, unless this endpoint is closed or the work is stopped meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._closed.is_set() or stopped.wait(min(left, 0.1)):
                return True
        return False


def _base_url(url: str) -> tuple[str, str]:
    """The URL that paths are appended to, and its host; `/v1` where it names no path."""
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
    except ValueError:
        raise UsageError(f"{url!r} is not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{url!r} is not a URL that begins with http:// or https://")
    if parts.username is not None or parts.password is not None or parts.query:
        raise UsageError(
            f"the URL of {host} holds a name, a password or a query; name the server alone, and put the key "
            "into the environment"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}", host


def _key_from_environment(name: str) -> str | None:
    key = os.environ.get(name, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise UsageError(f"the key in the environment variable {name} holds characters that no key has")
    return key or None


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"the request cannot be written as JSON: {' '.join(str(error).split())}") from None


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds that a server asks to be left alone for: a number, or a date (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
