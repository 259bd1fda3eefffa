"""Quality after the same wall-clock time on real text: ours against the tuned Trainer of transformers.

Both get the same training text, tokenizer, shape, threads and seconds; what they compile counts, with empty
caches. Reading and tokenizing the text, and importing libraries, do not count for either. Each writes a model
folder; one function, which uses transformers only, measures both on the held-out chunks.

The Trainer computes in bfloat16, compiled, with fused AdamW, and its learning rate follows a cosine over the
time itself after a warm-up, so that it ends just when the time does. The peak rate is the best of --rates on
shorter runs.

Run: python -m benchmarks.equal_time                              zh and en, 300 s, one seed
     python -m benchmarks.equal_time --split mixed --seeds 0 1 2  both languages in one model, measured apart
     python -m benchmarks.equal_time --seconds 220 --split wiki   for orientation beside other trainers
     options: --seeds 0 1 2, --width 192 --layers 4, --peers compiled eager,
              --set training.optimizer.muon_lr=0.01 (settings of ours)
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.real_text import Material, add_options, prepare

CONTEXT, VOCABULARY = 256, 4096
AMOUNTS = {
    "zh": {"zh": 8_000_000},
    "en": {"en": 20_000_000},
    "mixed": {"zh": 8_000_000, "en": 20_000_000},
    "wiki": {"wiki": 20_000_000},
}
"""Characters by language; every one is more than any contestant reads in five minutes on two cores."""
OURS = [
    "training.batch_rows=12",
    "training.optimizer={name: muon, lr: 0.004, muon_lr: 0.006, weight_decay: 0.05}",
]
TARGET = -0.10
ORIENTATION = 1.90  # bits per byte in 220 s on the wiki split


def main() -> None:
    """Tune, train, measure, and end with one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, "runs/equal_time")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--split", choices=["both", *AMOUNTS], default="both")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument(
        "--set", dest="ours", action="append", default=[], help="a setting of ours, a.b=value"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3, 6e-3])
    parser.add_argument("--peer-rows", type=int, nargs="+", default=[12], help="the Trainer's batches to try")
    parser.add_argument("--tune-seconds", type=float, help="of one tuning run; by default a fifth")
    parser.add_argument("--peers", nargs="+", choices=["compiled", "eager"], default=["compiled"])
    parser.add_argument("--characters", type=int, help="of each language, for a trial")
    parser.add_argument("--heldout-rows", type=int, default=1000, help="held-out rows of 256 tokens measured")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print("answer " + json.dumps(train_one(options.worker)))
        return
    found = {}
    for split in ["zh", "en"] if options.split == "both" else [options.split]:
        amounts = {name: options.characters or count for name, count in AMOUNTS[split].items()}
        material = prepare(options.out / split, options.data, amounts, VOCABULARY)
        found[split] = compare(split, material, options)
    print(json.dumps(result(found, options)))


def compare(split: str, material: Material, options: argparse.Namespace) -> dict[str, Any]:
    """All contestants on one text."""
    rows, rate = tune(split, material, options)
    scores: dict[str, list[float]] = {}
    for seed in options.seeds:
        jobs = {"jielong": {"kind": "ours", "settings": [*OURS, *options.ours]}}
        for peer in options.peers:
            jobs[f"trainer_{peer}"] = {
                "kind": "trainer", "compile": peer == "compiled", "rate": rate, "rows": rows,
            }  # fmt: skip
        for name, job in jobs.items():
            answer = start({**job, "seconds": options.seconds, "seed": seed}, material, options)
            scores.setdefault(name, []).append(answer["bits_per_byte"])
            print(f"{split} seed {seed} {name}: {shown(answer)}", flush=True)
    peers = {name: values for name, values in scores.items() if name != "jielong"}
    best = min(peers, key=lambda name: statistics.mean(peers[name]))
    differences = [mine - peer for mine, peer in zip(scores["jielong"], peers[best], strict=True)]
    return {
        "ours": statistics.mean(scores["jielong"]),
        "peer": statistics.mean(peers[best]),
        "best_peer": best,
        "difference": statistics.mean(differences),
        "differences": [round(value, 4) for value in differences],
        "peer_rate": rate,
        "peer_rows": rows,
    }


def tune(split: str, material: Material, options: argparse.Namespace) -> tuple[int, float]:
    """The Trainer's best batch and learning rate on short uncompiled runs: compiling changes neither."""
    pairs = [(rows, rate) for rows in options.peer_rows for rate in options.rates]
    if len(pairs) == 1:
        return pairs[0]
    tried = {}
    for rows, rate in pairs:
        job = {"kind": "trainer", "compile": False, "rate": rate, "rows": rows, "seed": 0}
        answer = start({**job, "seconds": options.tune_seconds or options.seconds / 5}, material, options)
        tried[rows, rate] = answer["bits_per_byte"]
        print(f"{split} tuning the Trainer, {rows} rows, rate {rate:g}: {shown(answer)}", flush=True)
    return min(tried, key=lambda pair: tried[pair])


def start(job: dict[str, Any], material: Material, options: argparse.Namespace) -> dict[str, Any]:
    """Run one contestant in a process of its own, with empty compile caches."""
    with tempfile.TemporaryDirectory() as folder:
        whole = {
            **job, "material": str(material.folder), "folder": folder, "threads": options.threads,
            "width": options.width, "layers": options.layers, "heldout_rows": options.heldout_rows,
        }  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.equal_time", "--worker", json.dumps(whole)]
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(Path(folder) / "cache")}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("answer "))
    return dict(json.loads(line.removeprefix("answer ")))


def train_one(job: dict[str, Any]) -> dict[str, Any]:
    """Train one contestant and measure the folder it wrote."""
    from benchmarks.equal_time_contestants import held_out_bits, train_ours, train_trainer

    material = Material(Path(job["material"]))
    answer = (train_ours if job["kind"] == "ours" else train_trainer)(job, material)
    model = Path(answer.pop("model"))
    bits = {
        name: held_out_bits(
            model,
            material.tokenizer,
            material.texts(material.heldout, name),
            CONTEXT,
            job["heldout_rows"],
        )
        for name in material.names
    }
    return {**answer, "bits_by_text": bits, "bits_per_byte": statistics.mean(bits.values())}


def shown(answer: dict[str, Any]) -> str:
    """One contestant's figures."""
    by_text = ", ".join(f"{name} {bits:.4f}" for name, bits in answer["bits_by_text"].items())
    return (
        f"{answer['bits_per_byte']:.4f} bits/byte ({by_text}), {answer['tokens']:,} tokens in "
        f"{answer['seconds']:.0f} s "
        f"({answer['first_step']:.0f} s of them the first step), {answer['parameters']:,} parameters"
    )


def result(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The last line; `difference` is the mean over the languages."""
    mean = {
        key: statistics.mean(row[key] for row in found.values()) for key in ("ours", "peer", "difference")
    }
    return {
        "name": "equal_time",
        "value": round(mean["ours"], 4),
        "unit": "bits/byte, held out",
        "peer": round(mean["peer"], 4),
        "ratio": round(mean["ours"] / mean["peer"], 4),
        "difference": round(mean["difference"], 4),
        "target": TARGET,
        "orientation": ORIENTATION if options.split == "wiki" else None,
        "by_text": found,
        "seconds": options.seconds,
        "seeds": options.seeds,
        "shape": [options.width, options.layers],
        "threads": options.threads,
    }


if __name__ == "__main__":
    main()
