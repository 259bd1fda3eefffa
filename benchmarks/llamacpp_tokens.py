"""How often llama.cpp cuts text into other tokens than we do, after `jielong export gguf`.

A vocabulary is trained on every second document of some real texts; of the others, each line is cut by both.
A difference counts as many tokens as the longer of the two spellings has.

Run: python -m benchmarks.llamacpp_tokens [--characters 600000] [--vocab 8192]
Needs ../shared/data (see its README), zstandard, gguf, and llama-cpp-python (built from source).
"""

import argparse
import difflib
import io
import json
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.llamacpp import Llama
from jielong.export import write_gguf
from jielong.models import Transformer, qwen3_config, save_model
from jielong.tokenizer import Tokenizer, train_tokenizer

DATA = Path("../shared/data/pretrain")
TEXTS = {
    "Chinese books": "zh/gutenberg_zh_books.jsonl.zst",
    "Chinese documentation": "zh/tw_docs.jsonl.zst",
    "laws of Taiwan": "zh/tw_laws.jsonl.zst",
    "English novels": "en/eltec_english_novels.jsonl.zst",
    "English Wikipedia": "en/wikipedia_en_2019.jsonl.zst",
    "Python": "",
}
DOCUMENT = 20_000
"""Characters taken of one document."""


def main() -> None:
    """Count and print a table; the last line is one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--characters", type=int, default=600_000, help="of each text")
    parser.add_argument("--vocab", type=int, default=8192)
    options = parser.parse_args()
    documents = {name: read(path, options.characters) for name, path in TEXTS.items()}
    tokenizer = train_tokenizer([t for texts in documents.values() for t in texts[::2]], options.vocab)
    shares = {}
    llama = open_vocabulary(tokenizer)
    for name, texts in documents.items():
        tokens, different = compare(tokenizer, llama, texts[1::2])
        share = sum(different.values()) / tokens
        shares[name] = round(share, 7)
        shown = ", ".join(f"{text!r} {count}" for text, count in different.most_common(4))
        print(f"{name:22s} {tokens:9,d} tokens  {share:8.4%}  {shown}", flush=True)
    llama.close()
    worst = max(shares.values())
    print(
        json.dumps(
            {"name": "llamacpp_tokens", "value": worst, "unit": "share of tokens", "target": 0.001}
            | {"shares": shares}
        )
    )


def read(path: str, characters: int) -> list[str]:
    """Documents of a file of the shared data; of no path, modules of Python's library."""
    if not path:
        sources = sorted(Path(json.__file__).parent.parent.glob("*.py"))
        texts = (source.read_text(encoding="utf-8", errors="ignore") for source in sources)
    else:
        import zstandard

        with (DATA / path).open("rb") as file:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
            return take((json.loads(line)["text"] for line in lines), characters)
    return take(texts, characters)


def take(texts, characters: int) -> list[str]:
    """Beginnings of documents until there are enough characters."""
    taken: list[str] = []
    for text in texts:
        taken.append(text[:DOCUMENT])
        characters -= len(taken[-1])
        if characters <= 0:
            break
    return taken


def open_vocabulary(tokenizer: Tokenizer) -> Llama:
    """llama.cpp with this vocabulary and a network of no use."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        model = Transformer(qwen3_config(64, 1, tokenizer.vocab_size, 64))
        save_model(model, folder, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id)
        tokenizer.save(folder)
        write_gguf(folder, folder / "m.gguf")
        return Llama(folder / "m.gguf", context=64)


def compare(tokenizer: Tokenizer, llama: Llama, texts: list[str]) -> tuple[int, Counter[str]]:
    """Tokens of our spelling, and how many tokens are others there, by the text they spell."""
    total, different = 0, Counter[str]()
    for text in texts:
        for line in text.splitlines(keepends=True):
            ours, theirs = tokenizer.encode(line), llama.tokenize(line)
            total += len(ours)
            if ours == theirs:
                continue
            for tag, a, b, c, d in difflib.SequenceMatcher(None, ours, theirs, False).get_opcodes():
                if tag != "equal":
                    different[tokenizer.decode(ours[a:b])] += max(b - a, d - c)
    return total, different


if __name__ == "__main__":
    main()
