"""Rollouts by a vLLM that shares the GPU and the process with the training.

Written against the source of vLLM 0.33 (offline `LLM`, `SamplingParams`, sleep mode, `reload_weights`).
It has not been run on a GPU.
"""

import copy
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jielong.core.errors import JielongError, UsageError
from jielong.feedback.prompts import Prompt
from jielong.feedback.rewards import Answer
from jielong.generation import SamplingSettings
from jielong.models import Transformer, load_config, weights_by_hf_name
from jielong.models.adapters import merge_and_unload
from jielong.tokenizer import Tokenizer
from jielong.training.distributed import world_size


class VllmRollouts:
    """Rollouts by vLLM, whose weights are replaced by the policy's before every rollout.

    vLLM computes in another order and in bfloat16, so its probabilities differ a little from those that are
    trained. Answers carry the log-probabilities that they were rolled with, which the loss corrects for.

    Args:
        folder: the model folder; vLLM takes the network's shape from it.
        tokenizer: its end token ends an answer.
        memory: share of the GPU's memory for weights and caches, while answers are made.

    Raises:
        UsageError: vLLM is not installed, or there is no GPU.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, memory: float = 0.3) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise UsageError(
                "rollout_backend vllm needs vLLM, which is not installed: `pip install vllm` where there is "
                "a GPU, or set rollout_backend to engine"
            )
        if not _has_gpu():
            raise UsageError(
                "rollout_backend vllm needs a GPU, and torch finds none; set rollout_backend to engine"
            )
        self.folder = folder
        self.tokenizer = tokenizer
        self.memory = memory
        self._llm: Any = None

    def answer(
        self,
        policy: Transformer,
        prompts: Sequence[Prompt],
        settings: SamplingSettings,
        streams: Sequence[int],
    ) -> list[Answer]:
        """As `RolloutBackend.answer`, with the log-probabilities that were rolled with."""
        from vllm import SamplingParams

        # Opened here and not before: with several processes all of them have to do it at the same time.
        llm = self._llm = self._llm or self._open()
        self._wake(llm, policy)
        asked = [{"prompt_token_ids": list(prompt.ids)} for prompt in prompts]
        wanted = [
            SamplingParams(
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seed=_seed(settings.seed, stream),
                logprobs=0,  # of the token that came, and of no other
                stop_token_ids=[self.tokenizer.eos_id],
                detokenize=False,
            )
            for stream in streams
        ]
        outputs = llm.generate(asked, wanted, use_tqdm=False)
        # Its weights are worthless once the policy has changed, so they are dropped, not kept (level 1).
        llm.sleep(level=2)
        return [
            self._answer(prompt, output.outputs[0]) for prompt, output in zip(prompts, outputs, strict=True)
        ]

    def _answer(self, prompt: Prompt, output: Any) -> Answer:
        ids = list(output.token_ids)
        if not ids or output.logprobs is None:
            raise JielongError("vLLM gave an answer without tokens or log-probabilities")
        rolled = [float(places[token].logprob) for token, places in zip(ids, output.logprobs, strict=True)]
        return Answer(prompt, ids, self.tokenizer.decode(ids), output.finish_reason == "stop", rolled)

    def _open(self) -> Any:
        # Engine and model in this process, so that weights need not travel to another one.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        from vllm import LLM

        together = {"distributed_executor_backend": "external_launcher"} if world_size() > 1 else {}
        llm = LLM(
            model=str(self.folder),
            dtype="bfloat16",
            max_model_len=load_config(self.folder).max_position_embeddings,
            gpu_memory_utilization=self.memory,
            enable_sleep_mode=True,
            # Of the die that was rolled, so after the temperature.
            logprobs_mode="processed_logprobs",
            # No sampling defaults from the folder.
            generation_config="vllm",
            **together,
        )
        llm.sleep(level=2)
        return llm

    @staticmethod
    def _wake(llm: Any, policy: Transformer) -> None:
        """Give vLLM memory for weights, the policy's weights, then memory for keys and values."""
        torch.cuda.empty_cache()
        llm.wake_up(tags=["weights"])
        llm.collective_rpc("reload_weights", kwargs={"weights_iterator": _weights(policy)})
        llm.reset_prefix_cache()
        llm.wake_up(tags=["kv_cache"])


def _weights(policy: Transformer) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors as in Hugging Face's folders: an adapter merged in, a critic's head left out."""
    model = policy if policy.adapter is None else merge_and_unload(copy.deepcopy(policy))
    return ((name, tensor) for name, tensor in weights_by_hf_name(model).items() if name != "score.weight")


def _has_gpu() -> bool:
    return torch.cuda.is_available()


def _seed(seed: int, stream: int) -> int:
    """A seed of an answer's own, as vLLM rolls each request with one."""
    return int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint32)[0])
