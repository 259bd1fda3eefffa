"""llama.cpp through the low-level functions of llama-cpp-python, which are its C interface.

llama-cpp-python is no requirement of this project: it is built from source (cmake and a C++ compiler), which
takes some minutes: pip install llama-cpp-python.
"""

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

try:
    import llama_cpp as C
except ImportError:
    raise SystemExit("llama.cpp is not installed: pip install llama-cpp-python") from None

_F32 = 0
"""ggml_type of keys and values."""
_BATCH = 512
"""Tokens that go through the network at once, as in llama.cpp's programs."""


@C.llama_log_callback
def _say_nothing(_level: int, _text: bytes, _data: ctypes.c_void_p) -> None:
    pass


class Llama:
    """A GGUF file opened by llama.cpp.

    Args:
        path: the file.
        context: tokens of one sequence.
        sequences: how many are decoded at once.
        threads: of the CPU.
        unified: all sequences share one buffer of keys and values, in place of one each.
        exact: keys and values are float32 and attention is not fused, for comparison of numbers.
    """

    def __init__(
        self,
        path: Path,
        context: int = 512,
        sequences: int = 1,
        threads: int = 1,
        unified: bool = False,
        exact: bool = False,
    ) -> None:
        C.llama_log_set(_say_nothing, ctypes.c_void_p(0))
        C.llama_backend_init()
        options = C.llama_model_default_params()
        self.model = C.llama_model_load_from_file(str(path).encode(), options)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot open {path}")
        params = C.llama_context_default_params()
        params.n_ctx = context * sequences
        params.n_batch = params.n_ubatch = _BATCH
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = unified
        if exact:
            params.type_k = params.type_v = _F32
            params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = C.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"llama.cpp cannot make a context for {path}")
        self.vocab = C.llama_model_get_vocab(self.model)
        self.vocab_size = int(C.llama_vocab_n_tokens(self.vocab))
        self.sampler = C.llama_sampler_init_greedy()
        self.batch = C.llama_batch_init(_BATCH, 0, 1)

    def close(self) -> None:
        """Free everything."""
        C.llama_batch_free(self.batch)
        C.llama_sampler_free(self.sampler)
        C.llama_free(self.context)
        C.llama_model_free(self.model)

    def tokenize(self, text: str, special: bool = False, ends: bool = False) -> list[int]:
        """Token ids; `special` finds control tokens in the text, `ends` adds BOS where the file says so."""
        data = text.encode()
        room = len(data) + 8
        ids = (C.llama_token * room)()
        count = C.llama_tokenize(self.vocab, data, len(data), ids, room, ends, special)
        assert count >= 0  # noqa: S101
        return list(ids[:count])

    def piece(self, token: int, special: bool = True) -> bytes:
        """The bytes of a token."""
        buffer = ctypes.create_string_buffer(256)
        count = C.llama_token_to_piece(self.vocab, token, buffer, 256, 0, special)
        return buffer.raw[:count]

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits [tokens, vocabulary] of one text."""
        self.forget()
        self._fill((token, place, 0, True) for place, token in enumerate(ids))
        self._decode()
        rows = [C.llama_get_logits_ith(self.context, row) for row in range(len(ids))]
        return np.stack([np.ctypeslib.as_array(row, (self.vocab_size,)).copy() for row in rows])

    def greedy(self, prompts: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
        """The likeliest next token of every prompt, step by step.

        The prompts have one length, and together at most `_BATCH` tokens.
        """
        self.forget()
        length = len(prompts[0])
        self._fill(
            (token, place, number, place == length - 1)
            for number, prompt in enumerate(prompts)
            for place, token in enumerate(prompt)
        )
        self._decode()
        rolled = [self._roll((number + 1) * length - 1) for number in range(len(prompts))]
        yield rolled
        for place in range(length, length + tokens - 1):
            self._fill((token, place, number, True) for number, token in enumerate(rolled))
            self._decode()
            rolled = [self._roll(row) for row in range(len(prompts))]
            yield rolled

    def forget(self) -> None:
        """Empty the cache of keys and values."""
        C.llama_memory_clear(C.llama_get_memory(self.context), True)

    def _roll(self, row: int) -> int:
        return int(C.llama_sampler_sample(self.sampler, self.context, row))

    def _fill(self, entries: Iterator[tuple[int, int, int, bool]]) -> None:
        batch = self.batch
        count = 0
        for row, (token, place, sequence, wanted) in enumerate(entries):
            batch.token[row] = token
            batch.pos[row] = place
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = wanted
            count = row + 1
        batch.n_tokens = count

    def _decode(self) -> None:
        status = C.llama_decode(self.context, self.batch)
        if status:
            raise SystemExit(f"llama_decode failed with status {status}")
