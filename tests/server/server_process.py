"""Real server processes.

A process that was just started spends seconds on importing torch. So only the server that all tests share is
started as people start it; the others are forked from a process that has imported everything already, and
begin where `jielong serve` does: with its arguments.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import openai

KEY = "JIELONG_API_KEY"
CONTEXT = 1024
"""Tokens that the tests' model can hold."""
IMPORTED = ["jielong.cli.serve", "jielong.server.run", "jielong.generation.loading", "llguidance"]


@dataclass
class Server:
    """A server under test."""

    process: subprocess.Popen | BaseProcess
    url: str

    def client(self, **options) -> "openai.OpenAI":
        import openai  # not in the forked processes

        return openai.OpenAI(
            **{"base_url": f"{self.url}/v1", "api_key": "any", "max_retries": 0, "timeout": 200, **options}
        )

    def post(self, path: str, body=None, **options) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=200, **options)

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """Send a signal and wait for the end."""
        os.kill(self.process.pid, number)
        return self.wait()

    def wait(self) -> int | None:
        """The exit status."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.wait(100)
        self.process.join(100)
        return self.process.exitcode

    def gauge(self, name: str, **options) -> float:
        """Sum of a metric over its labels."""
        lines = httpx.get(f"{self.url}/metrics", **options).text.splitlines()
        values = [float(line.split()[-1]) for line in lines if line.startswith((name + "{", name + " "))]
        return sum(values)


@contextmanager
def started(*arguments: object) -> Iterator[Server]:
    """Start `jielong serve` on a free port; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jielong", "serve", *map(str, arguments), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield Server(process, _url(process.stdout))
    finally:
        process.kill()
        process.wait()


@contextmanager
def forked(*arguments: object, key: str | None = None) -> Iterator[Server]:
    """The same in a fork, with a key in its environment if one is given."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    told, tells = context.Pipe(duplex=False)
    words = ["serve", *map(str, arguments), "--port", "0", "--json"]
    process = context.Process(target=_serve, args=(words, key, tells))
    process.start()
    tells.close()
    try:
        with os.fdopen(os.dup(told.fileno())) as output:
            yield Server(process, _url(output))
    finally:
        process.kill()
        process.join()


def _serve(words: list[str], key: str | None, output) -> None:
    """What the forked process does."""
    import torch

    from jielong.cli import main

    torch.set_num_threads(1)
    os.dup2(output.fileno(), sys.stdout.fileno())
    os.environ.pop(KEY, None)
    if key is not None:
        os.environ[KEY] = key
    sys.exit(main(words))


def _url(output) -> str:
    """The address in the JSON object that a server prints when requests can come."""
    lines = [output.readline()]
    while not lines[-1].startswith("}"):
        assert lines[-1], "the server ended before it began"
        lines.append(output.readline())
    return json.loads("".join(lines))["url"]
