# ruff: noqa: ARG002
"""Stands in for vLLM, which needs a GPU: names and shapes of its offline API (0.33), transformers' network.

It refuses what vLLM refuses, and loses what vLLM loses while it sleeps.
"""

from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM


@dataclass
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int | None = 16
    seed: int | None = None
    logprobs: int | None = None
    stop_token_ids: list[int] | None = None
    detokenize: bool = True


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


class _Network:
    """The network as a worker holds it."""

    def __init__(self, folder):
        self.hf = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.loaded = set()

    def load_weights(self, weights):
        own = self.hf.state_dict()
        for name, tensor in weights:
            assert own[name].shape == tensor.shape
            own[name].copy_(tensor)
            self.loaded.add(name)
        return self.loaded


class LLM:
    """`vllm.LLM`, as far as rollouts use it."""

    opened = 0

    def __init__(
        self, model, *, dtype="auto", max_model_len=None, gpu_memory_utilization=0.9, enable_sleep_mode=False,
        logprobs_mode="raw_logprobs", generation_config="auto", distributed_executor_backend=None,
    ):  # fmt: skip
        LLM.opened += 1
        assert enable_sleep_mode and logprobs_mode == "processed_logprobs" and generation_config == "vllm"
        assert 0 < gpu_memory_utilization < 1
        self.max_model_len = max_model_len
        self.network = _Network(model)
        self.awake = {"weights", "kv_cache"}

    def sleep(self, level=1):
        self.awake = set()
        if level == 2:
            self.network.loaded = set()
            with torch.no_grad():
                for weight in self.network.hf.parameters():
                    weight.fill_(torch.nan)  # so that what is not loaded again is seen

    def wake_up(self, tags=None):
        self.awake |= set(tags or ["weights", "kv_cache"])

    def reset_prefix_cache(self):
        return True

    def collective_rpc(self, method, timeout=None, args=(), kwargs=None):
        assert method == "reload_weights"
        assert "weights" in self.awake
        own = set(dict(self.network.hf.named_parameters()))
        assert self.network.load_weights(kwargs["weights_iterator"]) == own
        return [None]

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True):
        assert self.awake == {"weights", "kv_cache"}
        return [self._answer(prompt, params) for prompt, params in zip(prompts, sampling_params, strict=True)]

    @torch.no_grad()
    def _answer(self, prompt, params):
        ids, answer, logprobs = list(prompt["prompt_token_ids"]), [], []
        dice = torch.Generator().manual_seed(params.seed)
        finish = "length"
        while len(answer) < params.max_tokens and len(ids) + len(answer) < self.max_model_len:
            logits = self.network.hf(torch.tensor([ids + answer])).logits[0, -1]
            logs = torch.log_softmax(logits / params.temperature, -1)
            token = int(torch.multinomial(logs.exp(), 1, generator=dice))
            answer.append(token)
            logprobs.append({token: Logprob(float(logs[token]))})
            if token in params.stop_token_ids:
                finish = "stop"
                break
        return RequestOutput(ids, [CompletionOutput(0, "", answer, logprobs, finish)])
