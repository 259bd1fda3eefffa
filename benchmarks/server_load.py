"""Load a real server: many clients that stream at once, some of which hang up in the middle of an answer.

What each prompt is answered was worked out before, alone and greedily, so that an answer that lost a token or
got another client's is seen. Prompts whose answer has a near tie are left out: there, the rounding of a
larger batch may decide differently. At the end the server is killed with SIGKILL and started again.
Run: python -m benchmarks.server_load [--minutes 3] [--clients 64] [--model FOLDER] [--weights float32]
"""

import argparse
import asyncio
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import torch

from jielong.generation import SamplingSettings, Step, load_engine
from jielong.models import Transformer, qwen3_config, save_model
from jielong.tokenizer import train_tokenizer
from jielong.world import make_world

TARGET = 0
"""Requests that may be lost or mixed up."""
PROMPTS, TOKENS = 96, 96
"""How many different prompts, and how long their answers are."""
NEAR_TIE = {"float32": 1e-3, "int8": 0.05, "int4": 0.05, "bfloat16": 0.1}
"""Least difference of log-probability between the likeliest token and the next for an answer to be used."""
HANGS_UP = 0.25
"""Share of the clients that leave in the middle of an answer."""
NAME = "model"


@dataclass
class Tally:
    """What the clients saw."""

    whole: int = 0
    left: int = 0
    wrong: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)


def main() -> None:
    """Print what was measured; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--model", type=Path, help="a model folder; by default a random one of 4 M weights")
    parser.add_argument("--weights", default="float32", choices=sorted(NEAR_TIE))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = options.model or make_model(Path(place))
        measured = asyncio.run(
            measure(folder, options.weights, options.clients, options.minutes, options.seed)
        )
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    result = {"unit": "requests lost or mixed up", "peer": None, "ratio": None, "target": TARGET}
    print(json.dumps({"name": "server_load", **measured, **result, "machine": machine}))


def make_model(place: Path) -> Path:
    """A random network of the quickstart's shape, whose answers are varied."""
    make_world(place / "world", size="tiny", seed=0)
    lines = (place / "world" / "pretrain.jsonl").read_text().splitlines()
    tokenizer = train_tokenizer((json.loads(line)["text"] for line in lines), 4096)
    config = qwen3_config(256, 4, tokenizer.vocab_size, 512)
    model = Transformer(replace(config, initializer_range=0.1), seed=1)
    ids = {"eos_id": tokenizer.eos_id, "bos_id": tokenizer.bos_id, "pad_id": tokenizer.pad_id}
    save_model(model, place / NAME, **ids)
    tokenizer.save(place / NAME)
    return place / NAME


def expected_answers(folder: Path, weights: str, chance: random.Random) -> tuple[dict[str, str], list[int]]:
    """Prompts of different lengths and what each is answered when nothing else is asked; the end tokens."""
    torch.set_num_threads(1)
    engine = load_engine(folder, weights)
    ends = sorted(engine.end_ids)
    settings = SamplingSettings(max_tokens=TOKENS, temperature=0, logit_bias=dict.fromkeys(ends, -100.0))
    answers: dict[str, str] = {}
    while len(answers) < PROMPTS:
        prompt = " ".join(str(chance.randrange(10**6)) for _ in range(chance.randint(1, 40)))
        steps = list(engine.stream([engine.tokenizer.bos_id, *engine.tokenizer.encode(prompt)], settings))
        text = "".join(step.text for step in steps)
        if min(map(partial(lead, ends), steps)) > NEAR_TIE[weights] and text not in answers.values():
            answers[prompt] = text
    return answers, ends


def lead(ends: Sequence[int], step: Step) -> float:
    """How much likelier the likeliest token is than the next, as a difference of log-probabilities."""
    first, second = [share for token, share in step.top if token not in ends][:2]
    return math.log(first / second)


class Server:
    """`jielong serve` in a process of its own."""

    def __init__(self, folder: Path, weights: str, port: int = 0):
        began = time.monotonic()
        command = [sys.executable, "-m", "jielong", "serve", f"{NAME}={folder}", "--weights", weights]
        self.process = subprocess.Popen(
            [*command, "--json", "--port", str(port)], stdout=subprocess.PIPE, text=True
        )
        lines: list[str] = []
        while not lines or not lines[-1].startswith("}"):
            lines.append(self.process.stdout.readline() if self.process.stdout else "")
            if not lines[-1]:
                raise RuntimeError("the server ended before it began")
        self.url = json.loads("".join(lines))["url"]
        self.seconds = time.monotonic() - began

    def metric(self, name: str) -> float:
        """A metric as it is now, added up over its labels."""
        lines = httpx.get(f"{self.url}/metrics", timeout=60).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def memory(self) -> float:
        """Resident memory in MiB."""
        return self.metric("process_resident_memory_bytes") / 2**20


class Load:
    """Clients that ask again and again."""

    def __init__(self, url: str, answers: dict[str, str], ends: Sequence[int], seed: int):
        self.tally = Tally()
        self._url = url
        self._answers = answers
        self._bias = {str(token): -100 for token in ends}
        self._chance = random.Random(seed)

    async def run_once(self, clients: int) -> None:
        """Ask for every answer once."""
        places = asyncio.Semaphore(clients)

        async def ask(http: httpx.AsyncClient, prompt: str) -> None:
            async with places:
                await self._ask(http, prompt, None)

        async with httpx.AsyncClient(timeout=120) as http:
            await asyncio.gather(*(ask(http, prompt) for prompt in self._answers))

    async def run(self, clients: int, seconds: float) -> None:
        """Ask for so many seconds; what is under way then is waited for."""
        until = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=clients)
        async with httpx.AsyncClient(timeout=120, limits=limits) as http:
            await asyncio.gather(*(self._client(http, until) for _ in range(clients)))

    async def _client(self, http: httpx.AsyncClient, until: float) -> None:
        while time.monotonic() < until:
            prompt = self._chance.choice(list(self._answers))
            leaves = self._chance.random() < HANGS_UP
            try:
                await self._ask(http, prompt, self._chance.randint(1, TOKENS // 2) if leaves else None)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                self.tally.wrong.append(f"{prompt[:20]}: {error!r}")
            if self._chance.random() < 0.1:
                await asyncio.sleep(self._chance.random())

    async def _ask(self, http: httpx.AsyncClient, prompt: str, leave_after: int | None) -> None:
        """One request; read to its end, or left after so many chunks."""
        body: dict[str, Any] = {"model": NAME, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0}
        body |= {"stream": True, "logit_bias": self._bias}
        began = last = time.monotonic()
        text, chunks, finish, done = "", 0, None, False
        async with http.stream("POST", f"{self._url}/v1/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    done = True
                    break
                choice = json.loads(line[6:])["choices"][0]
                finish = choice["finish_reason"]
                if not choice["text"]:
                    continue
                now = time.monotonic()
                (self.tally.between if chunks else self.tally.first).append(now - (last if chunks else began))
                last, text, chunks = now, text + choice["text"], chunks + 1
                if chunks == leave_after:
                    break
        expected = self._answers[prompt]
        if leave_after is not None and not done:
            self.tally.left += 1
            right = expected.startswith(text)
        else:
            self.tally.whole += 1
            right = done and finish == "length" and text == expected
        if not right:
            self.tally.wrong.append(f"{prompt[:20]}: {finish}, {text[:40]!r} instead of {expected[:40]!r}")


async def measure(folder: Path, weights: str, clients: int, minutes: float, seed: int) -> dict[str, Any]:
    """All figures of one model."""
    answers, ends = expected_answers(folder, weights, random.Random(seed))
    print(f"{len(answers)} prompts with answers of {TOKENS} tokens")
    server = Server(folder, weights)
    try:
        # The beginnings of prompts that the engine keeps for the next ones belong to its base.
        warm = Load(server.url, answers, ends, seed + 1)
        await warm.run_once(clients)
        await warm.run(clients, min(15, 60 * minutes))
        await idle(server)
        base = server.memory()
        load = Load(server.url, answers, ends, seed)
        tokens, began = server.metric("jielong_generated_tokens_total"), time.monotonic()
        await load.run(clients, 60 * minutes)
        seconds = time.monotonic() - began
        tokens = server.metric("jielong_generated_tokens_total") - tokens
        stuck = await idle(server)
        after = server.memory()
        back = await kill_and_restart(server, folder, weights, answers, ends)
    finally:
        server.process.kill()
    tally = load.tally
    for problem in tally.wrong[:10]:
        print(problem)
    return {
        "value": len(tally.wrong) + stuck,
        "clients": clients,
        "seconds": round(seconds, 1),
        "answers_whole": tally.whole,
        "answers_left": tally.left,
        "tokens_per_second": round(tokens / seconds, 1),
        "first_token_seconds": percentiles(tally.first),
        "between_chunks_seconds": percentiles(tally.between),
        "memory_mib": {"before": round(base), "after": round(after)},
        "restart_after_kill_seconds": round(back, 2),
    }


async def idle(server: Server) -> int:
    """Wait until nothing is under way; the number of sequences that never ended."""
    for _ in range(100):
        left = server.metric("jielong_running") + server.metric("jielong_waiting")
        if not left:
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    return int(left)


async def kill_and_restart(
    server: Server, folder: Path, weights: str, answers: dict[str, str], ends: Sequence[int]
) -> float:
    """Kill the server while it answers; seconds from then until a new one has given a right answer."""
    busy = asyncio.ensure_future(Load(server.url, answers, ends, 7).run(8, 3))
    await asyncio.sleep(1.5)
    server.process.kill()
    server.process.wait()
    began = time.monotonic()
    port = int(server.url.rpartition(":")[2])
    again = await asyncio.to_thread(Server, folder, weights, port)
    server.process = again.process
    check = Load(again.url, answers, ends, 8)
    await check.run(1, 0.01)
    seconds = time.monotonic() - began
    if check.tally.wrong:
        raise RuntimeError(f"after the restart: {check.tally.wrong}")
    await busy
    return seconds


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Middle, 95th and 99th percentile, and the most."""
    ordered = sorted(seconds)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: ordered[int(share * (len(ordered) - 1))] for name, share in shares.items()}
    return {name: round(value, 4) for name, value in (*found.items(), ("max", ordered[-1]))}


if __name__ == "__main__":
    main()
