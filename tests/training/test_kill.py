import json
import os
import random
import signal
import time

import pytest
from killed import finish, kill_after, kill_in_writing, start

from jielong.training.checkpoint import newest_checkpoint
from jielong.training.metrics import read_metrics

CLOCK = {"seconds", "tokens_per_second"}


def outcome(run):
    """Everything a run leaves that does not tell the time or the place."""
    files = {path.name: path.read_bytes() for path in (run / "model").iterdir()}
    lineage = json.loads(files.pop("lineage.json"))
    lineage["recipe"].pop("out")
    rows = [
        {key: value for key, value in row.items() if key not in CLOCK}
        for row in read_metrics(run / "metrics.jsonl")
    ]
    return files, lineage, rows


def write_recipe(settings):
    path = settings.out.with_suffix(".yaml")
    path.write_text(settings.to_yaml())
    return str(path)


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(recipe, tmp_path):
    shape = {"steps": 40, "checkpoint_every": 1, "keep_checkpoints": 1, "validation_rows": 4,
             "average": {"decay": 0.9, "tail": 0.25}}  # fmt: skip
    whole, broken = recipe("whole", **shape), recipe("broken", **shape)
    seconds = finish(tmp_path, "pretrain", write_recipe(whole), "--json")
    chance = random.Random(0)
    kills = in_writing = 0
    for attempt in range(10):
        process = start(tmp_path, "pretrain", write_recipe(broken), "--json", *["--resume"] * (attempt > 0))
        if attempt % 2:
            time.sleep(chance.uniform(0, seconds / 2))
            in_writing += kill_in_writing(process, broken.out / "checkpoints", 5)
        kills += kill_after(process, chance.uniform(0, seconds / 2))
    finish(tmp_path, "pretrain", write_recipe(broken), "--resume", "--json")
    assert kills >= 5
    assert in_writing >= 1
    assert outcome(broken.out) == outcome(whole.out)
    left = [path.name for path in (broken.out / "checkpoints").iterdir()]
    assert all(name.startswith("step-") for name in left), "the leftovers of the killed writers are cleared"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_says_how_to_resume(recipe, tmp_path, how):
    settings = recipe("stopped", steps=4000, validate_every=1, sample_every=1)
    process = start(tmp_path, "pretrain", write_recipe(settings))
    metrics = settings.out / "metrics.jsonl"
    while process.is_alive() and not (metrics.exists() and len(metrics.read_bytes().splitlines()) > 9):
        time.sleep(0.01)
    # By then most of the time goes into validation and samples.
    os.kill(process.pid, how)
    process.join(60)
    said = (tmp_path / "log.txt").read_text()
    assert process.exitcode == 1, said
    assert "--resume" in said
    assert "Traceback" not in said
    steps = [row["step"] for row in read_metrics(metrics) if "loss" in row]
    assert newest_checkpoint(settings.out / "checkpoints").name == f"step-{steps[-1]:06d}"


def test_ctrl_c_twice_stops_at_once(recipe, tmp_path):
    settings = recipe("stopped", steps=4000)
    process = start(tmp_path, "pretrain", write_recipe(settings))
    metrics = settings.out / "metrics.jsonl"
    while process.is_alive() and not (metrics.exists() and len(metrics.read_bytes().splitlines()) > 3):
        time.sleep(0.01)
    for _ in range(20):
        if process.is_alive():
            os.kill(process.pid, signal.SIGINT)
        time.sleep(0.001)
    process.join(60)
    said = (tmp_path / "log.txt").read_text()
    assert process.exitcode in {1, 130}, said
    assert "Traceback" not in said
