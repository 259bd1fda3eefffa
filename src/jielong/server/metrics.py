"""What the server did, in Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats)."""

import bisect
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

Labels = tuple[tuple[str, str], ...]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Counter:
    """A number that only grows, one for each set of labels."""

    def __init__(self, name: str, meaning: str):
        self.name = name
        self.meaning = meaning
        self._values: dict[Labels, float] = defaultdict(float)

    def add(self, amount: float = 1.0, **labels: str) -> None:
        """Let it grow."""
        self._values[tuple(labels.items())] += amount

    def lines(self) -> Iterable[str]:
        """Its lines of text."""
        yield from _head(self.name, "counter", self.meaning)
        for labels, value in self._values.items():
            yield f"{self.name}{_written(labels)} {value:g}"


class Histogram:
    """How often a duration fell under each of some bounds, for each set of labels; in seconds."""

    def __init__(self, name: str, meaning: str, bounds: Sequence[float] = _SECONDS):
        self.name = name
        self.meaning = meaning
        self._bounds = bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = defaultdict(float)

    def observe(self, seconds: float, times: int = 1, **labels: str) -> None:
        """Note a duration."""
        key = tuple(labels.items())
        counts = self._counts.setdefault(key, [0] * (len(self._bounds) + 1))
        counts[bisect.bisect_left(self._bounds, seconds)] += times
        self._sums[key] += seconds * times

    def lines(self) -> Iterable[str]:
        """Its lines of text."""
        yield from _head(self.name, "histogram", self.meaning)
        for labels, counts in self._counts.items():
            total = 0
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                yield f"{self.name}_bucket{_written((*labels, ('le', bound)))} {total}"
            yield f"{self.name}_sum{_written(labels)} {self._sums[labels]:g}"
            yield f"{self.name}_count{_written(labels)} {total}"


class Metrics:
    """The server's own counts; used by the event loop's thread only."""

    def __init__(self) -> None:
        self.requests = Counter("jielong_requests_total", "Requests answered, by route and status.")
        self.seconds = Histogram("jielong_request_seconds", "From a request's start to its answer's end.")
        self.first_token = Histogram("jielong_first_token_seconds", "From a request to its first token.")
        self.next_token = Histogram("jielong_next_token_seconds", "From a token to the next.")
        self.prompt_tokens = Counter("jielong_prompt_tokens_total", "Tokens of prompts.")
        self.generated_tokens = Counter("jielong_generated_tokens_total", "Tokens generated.")
        self.cancelled = Counter("jielong_cancelled_total", "Answers given up before their end.")

    def text(self, gauges: Iterable[tuple[str, str, Labels, float]]) -> str:
        """All of them as text.

        Args:
            gauges: (name, meaning, labels, value) of numbers that are as they are now.
        """
        lines: list[str] = []
        for metric in vars(self).values():
            lines += metric.lines()
        seen = set()
        for name, meaning, labels, value in [*gauges, *_memory()]:
            if name not in seen:
                lines += _head(name, "gauge", meaning)
                seen.add(name)
            lines.append(f"{name}{_written(labels)} {value:.17g}")
        return "\n".join(lines) + "\n"


def _memory() -> Iterable[tuple[str, str, Labels, float]]:
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text().split()[1])
        yield "process_resident_memory_bytes", "Resident memory.", (), pages * os.sysconf("SC_PAGE_SIZE")


def _head(name: str, kind: str, meaning: str) -> Iterable[str]:
    return (f"# HELP {name} {meaning}", f"# TYPE {name} {kind}")


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
