"""A real server process with a tiny random model, and OpenAI's own client."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import openai
import pytest

from jielong.generation import Engine, load_engine
from jielong.models import Transformer, qwen3_config, save_model
from jielong.tokenizer import train_tokenizer

TEXT = [
    "台灣最高的山是玉山。高雄舊稱打狗。",
    "Water boils at 100 degrees. The highest mountain is Yushan.",
    '你好！🙂 Hello {"name": "weather", "arguments": {"city": "Taipei", "days": 3}}',
]
CONTEXT = 1024


@dataclass
class Server:
    """A server under test."""

    process: subprocess.Popen
    url: str

    def client(self, **options) -> openai.OpenAI:
        return openai.OpenAI(
            **{"base_url": f"{self.url}/v1", "api_key": "any", "max_retries": 0, "timeout": 200, **options}
        )

    def post(self, path: str, body=None, **options) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=200, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(100)

    def gauge(self, name: str, **options) -> float:
        """Sum of a metric over its labels."""
        lines = httpx.get(f"{self.url}/metrics", **options).text.splitlines()
        values = [float(line.split()[-1]) for line in lines if line.startswith((name + "{", name + " "))]
        return sum(values)


@contextmanager
def running(*arguments: object, key: str | None = None) -> Iterator[Server]:
    """Start `jielong serve` on a free port; killed at the end if it still runs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("JIELONG_API_KEY", None)
    if key is not None:
        environment["JIELONG_API_KEY"] = key
    process = subprocess.Popen(
        [sys.executable, "-m", "jielong", "serve", *map(str, arguments), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        line = process.stdout.read(1) and process.stdout.readline()
        lines = ["{" + line]
        while not lines[-1].startswith("}"):
            lines.append(process.stdout.readline())
            assert lines[-1], "the server ended before it began"
        yield Server(process, json.loads("".join(lines))["url"])
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, wide enough that the next token is neither certain nor uniform."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = train_tokenizer(iter(TEXT * 4), 400)
    config = qwen3_config(32, 1, tokenizer.vocab_size, CONTEXT)
    model = Transformer(replace(config, initializer_range=0.15), seed=1)
    save_model(model, path, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, pad_id=tokenizer.pad_id)
    tokenizer.save(path)
    return path


@pytest.fixture(scope="session")
def engine(folder: Path) -> Engine:
    """The same model in this process."""
    return load_engine(folder)


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Server]:
    with running(folder) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> openai.OpenAI:
    return server.client()
