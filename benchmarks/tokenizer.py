"""Measure the tokenizer: training and encoding speed, and bytes per token beside plain byte-level BPE.

Both are trained on the same text to the same vocabulary and measured on other documents of the same sources.
Run: python benchmarks/tokenizer.py [--vocab 4096] [--megabytes 3]
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from jielong.data import Problems, cut_documents, read_documents
from jielong.tokenizer import train_tokenizer

SOURCES = {
    "zh": ("gutenberg_zh_books", "tang_song_poems", "tw_docs", "tw_laws", "tw_msdocs"),
    "en": ("eltec_english_novels", "openstax_textbooks", "wikipedia_en_2019"),
}
TARGET = 1.0
"""The ratio to plain byte-level BPE that should be reached: never packed worse, though digits stand alone."""

Texts = dict[str, list[str]]


def main() -> None:
    """Print what was measured; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--megabytes", type=float, default=3.0, help="training text of each language")
    options = parser.parse_args()
    data, training, test = load(int(options.megabytes * 1e6))
    corpus = [text for texts in training.values() for text in texts]
    size = total_bytes(corpus) / 1e6
    print(
        f"{data}: {size:.1f} MB to train on, {sum(map(total_bytes, test.values())) / 1e6:.1f} MB to measure"
    )

    tokenizer, seconds = timed(lambda: train_tokenizer(corpus, options.vocab))
    ours = measure("jielong", tokenizer.encode_batch, test) | {"train_mb_per_s": size / seconds}
    vocabulary = tokenizer.vocab_size
    plain, seconds = timed(lambda: train_plain(corpus, vocabulary))
    peer = measure("plain byte-level BPE", lambda texts: encode_plain(plain, texts), test)
    peer["train_mb_per_s"] = size / seconds
    halves = sum(is_half(tokenizer.token_bytes(token)) for token in range(tokenizer.vocab_size))
    print(f"training: jielong {ours['train_mb_per_s']:.2f} MB/s, plain {peer['train_mb_per_s']:.2f} MB/s")
    print(
        f"tokens with a whole character and a piece of another: jielong {halves}, plain {plain_halves(plain)}"
    )

    both = [result["zh_bytes_per_token"] * result["en_bytes_per_token"] for result in (ours, peer)]
    value, reference = (product**0.5 for product in both)
    print(
        json.dumps(
            {
                "name": "tokenizer",
                "value": round(value, 4),
                "unit": "bytes/token (geometric mean of zh and en)",
                "peer": round(reference, 4),
                "ratio": round(value / reference, 4),
                "target": TARGET,
                "vocab_size": vocabulary,
                "data": data,
                "jielong": {key: round(number, 3) for key, number in ours.items()},
                "plain_byte_level_bpe": {key: round(number, 3) for key, number in peer.items()},
                "half_character_tokens": {"jielong": halves, "plain": plain_halves(plain)},
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            }
        )
    )


def load(size: int) -> tuple[str, Texts, Texts]:
    """Texts by language: `size` bytes to train on, a tenth to measure; every source gives its share."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "pretrain"
    if folder.is_dir():
        training: Texts = {}
        test: Texts = {}
        for language, names in SOURCES.items():
            files = [folder / language / f"{name}.jsonl.zst" for name in names]
            parts = [divide(take([file], int(size * 1.1 / len(files)))) for file in files]
            training[language] = [text for part in parts for text in part[0]]
            test[language] = [text for part in parts for text in part[1]]
        return "shared/data/pretrain", training, test
    return load_world()


def load_world() -> tuple[str, Texts, Texts]:
    """The built-in world's text, for machines without the shared data."""
    from jielong.world import make_world

    training: Texts = {"zh": [], "en": []}
    test: Texts = {"zh": [], "en": []}
    with tempfile.TemporaryDirectory() as folder:
        make_world(Path(folder) / "world", "small", 0)
        for name, texts in (("pretrain.jsonl", training), ("pretrain_heldout.jsonl", test)):
            for document in read_documents([Path(folder) / "world" / name], Problems()):
                if document.metadata.get("lang") in texts:
                    texts[document.metadata["lang"]].append(document.text)
    return "built-in world (small)", training, test


def take(paths: Sequence[Path], size: int) -> list[str]:
    """About `size` bytes of documents, of long ones no more than a few pages each."""
    texts = []
    for document in read_documents(paths, Problems()):
        part = next(islice(cut_documents([document], 20_000), 1, 2), None) or document
        texts.append(part.text[:20_000])
        size -= len(texts[-1].encode())
        if size <= 0:
            break
    return texts


def divide(texts: list[str]) -> tuple[list[str], list[str]]:
    """Every eleventh document is measured, the others are trained on."""
    return [text for number, text in enumerate(texts) if number % 11 != 10], texts[10::11]


def train_plain(corpus: list[str], vocab_size: int) -> Backend:
    """Byte-level BPE as `tokenizers` does it by default (GPT-2's regular expression)."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    return backend


def encode_plain(backend: Backend, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in backend.encode_batch_fast(texts)]


def measure(name: str, encode: Callable[[list[str]], list[list[int]]], test: Texts) -> dict[str, float]:
    """Bytes per token and encoding speed for each language, printed and returned."""
    found: dict[str, float] = {}
    for language, texts in test.items():
        size = total_bytes(texts)
        ids, seconds = timed(lambda texts=texts: encode(texts))
        found[f"{language}_bytes_per_token"] = size / sum(map(len, ids))
        found[f"{language}_encode_mb_per_s"] = size / 1e6 / seconds
    shown = ", ".join(f"{key} {number:.3f}" for key, number in found.items())
    print(f"{name}: {shown}")
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def total_bytes(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def is_half(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return piece.decode(errors="ignore") != ""
    return False


def plain_halves(backend: Backend) -> int:
    from jielong.tokenizer.byte_level import bytes_of_token

    return sum(is_half(bytes_of_token(token)) for token in backend.get_vocab())


if __name__ == "__main__":
    main()
