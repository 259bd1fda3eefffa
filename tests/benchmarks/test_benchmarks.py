"""The parts of the benchmarks on which their honesty hangs."""

import argparse
import json
import math
import random
import sys
import time

import pytest
import torch
from benchmarks.equal_time_contestants import Clock, held_out_bits, stream_rows
from benchmarks.isoflop import GRID, key_of, law_yaml, read_results, run_missing
from benchmarks.isoflop_plot import draw
from benchmarks.paced import Worker
from benchmarks.real_text import CHUNK, HELD_OUT, prepare, split_file
from benchmarks.weights import Endless, bits_per_byte, weight_bytes

from jielong.generation import SamplingSettings, load_engine
from jielong.models import Transformer, count_parameters, flops_per_token, qwen3_config, save_model
from jielong.tokenizer import train_tokenizer
from jielong.training.planning import Run, ScalingLaw, fit_law, parse_law

LAW = ScalingLaw(0.9, 30.0, 60.0, 0.35, 0.30, "bits/byte", "made up", (3e5, 6e6))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["文字接龍。The die rolls again and again.\n"] * 50, 320)


def rows_of(law):
    for flops, shapes in GRID.items():
        for width, layers in shapes:
            config = qwen3_config(width, layers, 4096, 256)
            size, tokens = count_parameters(config), flops / flops_per_token(config, 256)
            yield {
                "flops": flops, "width": width, "layers": layers, "seed": 0, "parameters": size,
                "tokens": tokens, "bits_per_byte": law.loss(size, tokens), "seconds": 1.0,
            }  # fmt: skip


def test_training_and_held_out_chunks_are_the_whole_text_once(tmp_path):
    draw_one = random.Random(0)
    texts = ["".join(chr(draw_one.randrange(0x4E00, 0x9000)) for _ in range(9000)) for _ in range(5)]
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    train, heldout = split_file(path, 40_000)
    whole = [*texts[:4], texts[4][:4000]]
    chunks = sum(-(-len(text) // CHUNK) for text in whole)
    assert len(heldout) == chunks // HELD_OUT
    assert all(len(chunk) <= CHUNK for chunk in heldout)
    assert sum(map(len, train)) + sum(map(len, heldout)) == 40_000
    assert all(any(part in text for text in whole) for part in (*train, *heldout))
    assert not any(chunk in part for chunk in heldout for part in train)


def test_prepared_text_is_made_once_and_made_anew_for_other_amounts(tmp_path):
    folder = tmp_path / "data" / "en"
    folder.mkdir(parents=True)
    zstandard = pytest.importorskip("zstandard")
    line = json.dumps({"text": "The die rolls again, and the next token follows. " * 400}) + "\n"
    (folder / "wikipedia_en_2019.jsonl.zst").write_bytes(zstandard.compress(line.encode()))
    made = prepare(tmp_path / "out", tmp_path / "data", {"wiki": 15_000}, 320)
    before = made.train.stat().st_mtime_ns
    packed = made.packed(made.train, 64)
    assert (made.packed(made.train, 64).tokens == packed.tokens).all()
    assert len(made.texts(made.heldout)) == 1
    prepare(tmp_path / "out", tmp_path / "data", {"wiki": 15_000}, 320)
    assert made.train.stat().st_mtime_ns == before
    prepare(tmp_path / "out", tmp_path / "data", {"wiki": 1_400}, 320)
    assert sum(map(len, made.texts(made.train))) == 1_400
    with pytest.raises(SystemExit, match="--data"):
        prepare(tmp_path / "other", tmp_path / "nowhere", {"wiki": 1_400}, 320)


def test_held_out_bits_are_those_of_the_text_read_piece_by_piece(tokenizer, tmp_path):
    model = Transformer(qwen3_config(32, 1, tokenizer.vocab_size, 64)).eval()
    save_model(
        model, tmp_path, bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id, pad_id=tokenizer.pad_id,
        generation={},
    )  # fmt: skip
    texts = ["The die rolls. 文字接龍。" * 3, "again", "文字" * 40]
    nats = 0.0
    for ids in tokenizer.encode_batch(texts):
        for start in range(0, len(ids), 15):
            piece = [tokenizer.bos_id, *ids[start : start + 15]]
            positions = torch.arange(len(piece)).unsqueeze(0)
            with torch.no_grad():
                logits = model.head(model(torch.tensor([piece]), positions))[0]
            nats -= sum(logits[i].log_softmax(-1)[piece[i + 1]].item() for i in range(len(piece) - 1))
    expected = nats / math.log(2) / sum(len(text.encode()) for text in texts)
    found = held_out_bits(tmp_path, tokenizer, texts, context=16, most_rows=1000)
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_peers_rows_hold_the_text_and_begin_as_held_out_pieces_do(tokenizer):
    texts = ["The die rolls again. " * 9, "文字接龍。" * 20]
    rows = stream_rows(tokenizer, texts, 16)
    assert rows.shape[1] == 16
    assert (rows[:, 0] == tokenizer.bos_id).all()
    text = tokenizer.decode([int(token) for row in rows for token in row[1:]])
    assert "".join(texts).startswith(text[:100])
    assert len(text) > 0.9 * sum(map(len, texts))


def test_the_peers_clock_rises_and_falls_with_the_time_and_ends_before_the_end():
    clock = Clock(time.monotonic() - 10.0, seconds=110.0)
    assert clock.rate() < 0.1
    clock.step()
    assert clock.first == pytest.approx(10.0, abs=0.5)
    rates = []
    for spent in (1.0, 5.0, 50.0, 99.0):
        clock._began = time.monotonic() - 10.0 - spent
        rates.append(clock.rate())
    assert rates[0] == pytest.approx(1 / 3, rel=0.1)
    assert rates[1] > 0.95 > rates[2] > 0.3 > rates[3]
    clock.steps = 100
    assert not clock.over
    clock._began = time.monotonic() - 109.9
    assert clock.over


def test_a_worker_takes_the_steps_it_is_told_to(tmp_path):
    (tmp_path / "contestant.py").write_text(
        "import sys, time\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from benchmarks.paced import Finished, Turns\n"
        "turns = Turns()\n"
        "try:\n"
        "    while True:\n"
        "        print('noise')\n"
        "        time.sleep(0.02)\n"
        "        turns.step()\n"
        "except Finished:\n"
        "    pass\n"
    )
    worker = Worker.start("sleeper", [str(tmp_path / "contestant.py")])
    one, three = worker.turn(1), worker.turn(3)
    worker.stop()
    assert (one["steps"], three["steps"]) == (1, 3)
    assert three["seconds"] >= 0.06
    assert three["peak_bytes"] > 1e6
    assert worker.process.returncode == 0


def test_runs_are_told_apart_so_that_a_second_start_trains_only_what_is_missing(tmp_path, monkeypatch):
    rows = list(rows_of(LAW))
    assert len({key_of(row) for row in rows}) == 15
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def no_training(*arguments, **options):
        raise AssertionError("every run was finished already")

    monkeypatch.setattr("benchmarks.isoflop.subprocess.run", no_training)
    run_missing(argparse.Namespace(out=tmp_path, scale=1.0, seed=0, threads=1))
    assert read_results(path) == rows
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    with pytest.raises(AssertionError, match="finished already"):
        run_missing(argparse.Namespace(out=tmp_path, scale=1.0, seed=0, threads=1))


def test_the_grid_is_enough_to_find_the_law_and_its_file_is_what_plan_reads():
    rows = list(rows_of(LAW))
    fit = fit_law([Run(row["parameters"], row["tokens"], row["bits_per_byte"]) for row in rows], draws=2)
    law = parse_law(law_yaml(fit, rows), "x")
    assert law == fit.law
    for name in ("e", "a", "b", "alpha", "beta"):
        assert getattr(law, name) == pytest.approx(getattr(LAW, name), rel=0.01)


def test_the_plot_shows_every_run_and_a_curve_for_each_budget():
    svg = draw(list(rows_of(LAW)), LAW)
    assert svg.count("<circle") == 15
    assert svg.count("<polyline") == len(GRID) + 1
    assert "nan" not in svg


def test_bits_per_byte_and_memory_of_narrow_weights(tokenizer, tmp_path):
    """Ours equals transformers', and a byte is counted once however many layers share it."""
    model = Transformer(qwen3_config(32, 2, tokenizer.vocab_size, 24), seed=1)
    save_model(model, tmp_path, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, pad_id=tokenizer.pad_id)
    tokenizer.save(tmp_path)
    texts = ["文字接龍。The die rolls again and again.\n" * 3, "again"]
    engine = load_engine(tmp_path)
    expected = held_out_bits(tmp_path, tokenizer, texts, 24, 1000)
    assert bits_per_byte(engine, texts) == pytest.approx(expected, rel=1e-4)
    assert weight_bytes(engine.model) == 4 * count_parameters(model.config)
    completion = Endless(engine).generate([[5, 6]], SamplingSettings(temperature=0, max_tokens=9))[0]
    assert len(completion.ids) == 9
