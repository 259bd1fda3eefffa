"""Real text of ../shared/data for benchmarks: every twentieth chunk held out, one tokenizer, packed rows."""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from jielong.core.files import to_jsonl, write_atomically
from jielong.data import Packed, Problems, pack, read_documents
from jielong.tokenizer import Tokenizer, train_tokenizer

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "pretrain"
SOURCES = {
    "zh": ("zh/gutenberg_zh_books", "zh/tw_docs", "zh/tw_laws", "zh/tw_msdocs"),
    "en": ("en/wikipedia_en_2019", "en/openstax_textbooks", "en/eltec_english_novels"),
    "wiki": ("en/wikipedia_en_2019",),
}
"""Prose by name; `wiki` is the split that figures of other trainers were measured on (docs/benchmarks.md)."""
CHUNK = 700  # characters
HELD_OUT = 20  # every so many-th chunk
_TOKENIZER_CHARACTERS = 6_000_000
_FIELDS = ("tokens", "positions", "segments", "targets")


@dataclass(frozen=True)
class Material:
    """Prepared text in a folder."""

    folder: Path

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.folder / "tokenizer")

    @property
    def train(self) -> Path:
        """Training chunks as JSON Lines."""
        return self.folder / "train.jsonl"

    @property
    def heldout(self) -> Path:
        """Held-out chunks as JSON Lines."""
        return self.folder / "heldout.jsonl"

    @property
    def names(self) -> list[str]:
        """What of `SOURCES` it is made of."""
        made = json.loads((self.folder / "made.json").read_text(encoding="utf-8"))
        return list(made["amounts"])

    def texts(self, path: Path, name: str | None = None) -> list[str]:
        """The chunks of a file, of one name or of all."""
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [row["text"] for row in rows if name in (None, row["name"])]

    def packed(self, path: Path, context: int) -> Packed:
        """The chunks of a file in rows; encoded once, then read from beside it."""
        kept = path.with_suffix(f".{context}.npz")
        if not kept.exists():
            tokenizer = self.tokenizer
            encoded = tokenizer.encode_batch(self.texts(path))
            sequences = [[tokenizer.bos_id, *ids, tokenizer.eos_id] for ids in encoded]
            rows = pack(sequences, None, context, bos=tokenizer.bos_id, pad=tokenizer.pad_id)
            np.savez(kept, **{name: getattr(rows, name) for name in _FIELDS})
        with np.load(kept) as arrays:
            return Packed(*(arrays[name] for name in _FIELDS))


def add_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Options that benchmarks on real text have in common."""
    parser.add_argument(
        "--data", type=Path, default=SHARED, help="folder with zh/ and en/ (JSON Lines, zstd)"
    )
    parser.add_argument("--out", type=Path, default=Path(out), help="work folder; what lies there is reused")
    parser.add_argument("--threads", type=int, default=2)


def prepare(folder: Path, data: Path, amounts: dict[str, int], vocab_size: int = 4096) -> Material:
    """Cut the text into chunks, hold out, and train the tokenizer; a folder made with the same is reused.

    Args:
        folder: where everything goes.
        data: folder with zh/ and en/.
        amounts: characters by name of `SOURCES`, in equal parts of its files.
        vocab_size: of the tokenizer.
    """
    stamp = json.dumps({"amounts": amounts, "vocab_size": vocab_size, "chunk": CHUNK, "data": str(data)})
    made = folder / "made.json"
    if made.exists() and made.read_text(encoding="utf-8") == stamp:
        return Material(folder)
    if not data.is_dir():
        raise SystemExit(f"no folder {data}; say with --data where the real text lies")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.npz"):
        old.unlink()
    material = Material(folder)
    rows: dict[Path, list[dict[str, str]]] = {material.train: [], material.heldout: []}
    for name, characters in amounts.items():
        for source in SOURCES[name]:
            parts = split_file(data / f"{source}.jsonl.zst", characters // len(SOURCES[name]))
            for path, texts in zip(rows, parts, strict=True):
                rows[path] += [{"name": name, "text": text} for text in texts]
    for path, written in rows.items():
        write_atomically(path, to_jsonl(written))
    train_tokenizer(_sample([row["text"] for row in rows[material.train]]), vocab_size).save(
        folder / "tokenizer"
    )
    write_atomically(made, stamp)
    return material


def split_file(path: Path, characters: int) -> tuple[list[str], list[str]]:
    """The first characters of a file: every `HELD_OUT`-th chunk is held out, those between stay joined.

    Chunks do not reach over a document's end.
    """
    train: list[str] = []
    heldout: list[str] = []
    left, number = characters, 0
    for document in read_documents([path], Problems()):
        text = document.text[:left]
        left -= len(text)
        joined = ""
        for start in range(0, len(text), CHUNK):
            number += 1
            chunk = text[start : start + CHUNK]
            if number % HELD_OUT:
                joined += chunk
                continue
            heldout.append(chunk)
            train.append(joined)
            joined = ""
        train.append(joined)
        if left <= 0:
            break
    return [text for text in train if text], heldout


def _sample(texts: Sequence[str]) -> Iterable[str]:
    """Every so many-th text, so that all together hold about `_TOKENIZER_CHARACTERS`."""
    step = max(1, round(sum(map(len, texts)) / _TOKENIZER_CHARACTERS))
    return islice(texts, 0, None, step)
