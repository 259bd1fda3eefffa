"""Server-sent events: the data of each, out of bytes that come in any pieces."""

from collections.abc import Iterable, Iterator


def event_data(pieces: Iterable[bytes]) -> Iterator[str]:
    """Give the data of each event (WHATWG HTML standard, section 9.2.6), without its other fields.

    Bytes are cut at line feeds only: text may hold the line breaks of Unicode, which must not end a line. An
    event that the stream's end cuts off is left out, as the standard says.

    Args:
        pieces: the body, cut anywhere, also within a character.
    """
    lines: list[str] = []
    for line in _lines(pieces):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" ").decode("utf-8", errors="replace"))
        elif not line and lines:
            yield "\n".join(lines)
            lines = []


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
