"""Where an answer ends: stop strings across token borders, and text that never shows half a character."""

from collections.abc import Sequence

from jielong.tokenizer import StreamDecoder, Tokenizer


class StopStrings:
    """Cut a stream of text before the first stop string, holding back text that may turn out to begin one.

    The result does not depend on how the text was divided into pieces: the stop string that is complete first
    wins.
    """

    def __init__(self, stops: Sequence[str]):
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found: str | None = None
        """The stop string that was complete first."""

    def push(self, piece: str) -> str:
        """Take the next piece and return the text that can be shown now; nothing after a stop string."""
        if self.found is not None:
            return ""
        if not self._stops:
            return piece
        text = self._held + piece
        end = min((text.find(stop) + len(stop) for stop in self._stops if stop in text), default=None)
        if end is not None:
            self._held = ""
            self.found = max((stop for stop in self._stops if text[:end].endswith(stop)), key=len)
            return text[: end - len(self.found)]
        held = self._length_to_hold(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """Return what was held back; call it when the text has ended without a stop string."""
        held, self._held = self._held, ""
        return held

    def _length_to_hold(self, text: str) -> int:
        """Length of the longest end of the text that is a proper beginning of a stop string."""
        return max(
            (n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])),
            default=0,
        )


class TextStream:
    """Turn token ids into text pieces, whole characters only, cut before the first stop string."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()):
        self._decoder = StreamDecoder(tokenizer)
        self._stops = StopStrings(stops)

    @property
    def stopped_by(self) -> str | None:
        """The stop string that was completed, if one was."""
        return self._stops.found

    def push(self, token: int) -> str:
        """Take one token and return the text that it completes, perhaps none."""
        return self._stops.push(self._decoder.push(token))

    def flush(self) -> str:
        """Return the rest of the text at its end; half a character becomes U+FFFD."""
        return self._stops.push(self._decoder.flush()) + self._stops.flush()
