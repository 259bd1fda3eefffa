"""Two real processes, started by torchrun, that talk through gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from several_runs import copy_as_killed_after_step_3

from jielong.training.checkpoint import newest_checkpoint
from jielong.training.metrics import read_metrics
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import PretrainSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")

SCRIPT = Path(__file__).with_name("several_runs.py")
ENGINES = ("ddp", "fsdp")
OPTIMIZERS = ("adamw", "muon")
# Sums over a batch are rounded differently when it is cut in two: 1e-6 of a loss. Muon orthogonalises in
# bfloat16, so that a rounding now and then becomes one of 1/256 in an entry of the update.
TOLERANCE = {"adamw": 1e-6, "muon": 2e-4}
WEIGHT_TOLERANCE = {"adamw": 0.01, "muon": 0.1}


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


class Runs:
    """Recipes and run folders in one folder, on one small corpus with an odd number of held-out rows."""

    def __init__(self, folder):
        self.folder = folder
        self.corpus = folder / "corpus.jsonl"
        texts = [f"小明有 {n} 顆蘋果。Ming has {n} apples, and {n} + 1 is {n + 1}." for n in range(60)]
        self.corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def recipe(self, name, **training):
        values = {
            "steps": 6, "batch_rows": 4, "accumulate": 2, "context": 48, "validate_every": 4,
            "validation_rows": 3, "checkpoint_every": 3, "schedule": {"warmup": 2}, "precision": "float32",
            "compile": "no", "device": "cpu", "average": {"decay": 0.5, "tail": 0.67}, **training,
        }  # fmt: skip
        settings = PretrainSettings.parse(
            {
                "out": self.folder / name,
                "data": [self.corpus],
                "vocab_size": 320,
                "heldout_share": 0.1,
                "model": {"width": 32, "layers": 2, "max_context": 64},
                "training": values,
            }
        )
        path = self.folder / f"{name}.yaml"
        path.write_text(settings.to_yaml())
        return path

    def alone(self, name, resume=False, **training):
        run_pretraining(PretrainSettings.load(self.recipe(name, **training)), resume=resume, quiet=True)

    def together(self, jobs):
        listed = self.folder / "jobs.json"
        listed.write_text(json.dumps(jobs))
        process = torchrun(SCRIPT, listed)
        _, error = process.communicate(timeout=200)
        assert process.returncode == 0, error
        return [json.loads(listed.with_suffix(f".errors-{rank}").read_text()) for rank in range(2)]

    def losses(self, name):
        return [row["loss"] for row in read_metrics(self.folder / name / "metrics.jsonl") if "loss" in row]

    def bits(self, name):
        rows = read_metrics(self.folder / name / "metrics.jsonl")
        return [row["validation_bits_per_byte"] for row in rows if "validation_bits_per_byte" in row]

    def weights(self, name):
        return load_file(self.folder / name / "model" / "model.safetensors")


# Every gradient longer than the mean is a spike as soon as the mean is known, after 32 steps.
SKIPPING = {"steps": 48, "accumulate": 1, "batch_rows": 2, "on_bad_step": "skip", "spike": 1e-6,
            "max_skipped": 48, "optimizer": {"lr": 1e-3, "muon_lr": 1e-3}}  # fmt: skip

# With ddp only the first process writes, but each looks whether there is space.
SECOND_IS_FULL = {
    "ddp": {"small_disk_of_process": 1},
    "fsdp": {"most_bytes": 30_000, "limited_process": 1},
}

RESUMED_TOGETHER = [
    ("adamw-alone", "ddp"),
    ("adamw-alone", "fsdp"),
    ("adamw-ddp", "fsdp"),
    ("adamw-fsdp", "ddp"),
    ("muon-alone", "fsdp"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One process, and two with each engine, on the same recipes; resumed runs; and what is refused."""
    torch.set_num_threads(1)
    runs = Runs(tmp_path_factory.mktemp("runs"))
    jobs = []

    def job(name, of_job=(), **training):
        jobs.append({"recipe": str(runs.recipe(name, **training)), **dict(of_job)})

    runs.alone("skipping-alone", **SKIPPING)
    for engine in ENGINES:
        job(f"skipping-{engine}", parallel=engine, **SKIPPING)
    for optimizer in OPTIMIZERS:
        runs.alone(f"{optimizer}-alone", optimizer={"name": optimizer})
        for engine in ENGINES:
            job(f"{optimizer}-{engine}", optimizer={"name": optimizer}, parallel=engine)
    for before, engine in RESUMED_TOGETHER:
        optimizer = {"name": before.split("-")[0]}
        job(f"{before}-to-{engine}", {"goes_on_with": before}, optimizer=optimizer, parallel=engine)
    job("odd", batch_rows=3)
    other = runs.folder / "other.jsonl"
    other.write_text(runs.corpus.read_text().replace("apples", "pears"))
    job("differing", {"data": [str(runs.corpus), str(other)]})
    for engine in ENGINES:  # a share of a checkpoint has twice as many bytes
        job(f"full-{engine}", {"most_bytes": 100_000}, parallel=engine, checkpoint_every=2)
        job(f"full-in-one-{engine}", SECOND_IS_FULL[engine], parallel=engine)
        job(f"diverging-{engine}", parallel=engine, optimizer={"lr": 1e30})
    job("timed", steps=None, minutes=0.1, average={}, validate_every=1000)
    runs.errors, runs.others_errors = runs.together(jobs)
    return runs


def assert_close_weights(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for key in found:
        # Not entry by entry: the sign of a gradient near 0 is a rounding, and AdamW and Muon both follow it.
        assert (found[key] - expected[key]).norm() < tolerance * expected[key].norm(), key


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_processes_take_the_steps_of_one(runs, optimizer, engine):
    name, tolerance = f"{optimizer}-{engine}", TOLERANCE[optimizer]
    assert runs.losses(name) == pytest.approx(runs.losses(f"{optimizer}-alone"), rel=tolerance)
    assert runs.bits(name) == pytest.approx(runs.bits(f"{optimizer}-alone"), rel=tolerance)
    assert_close_weights(runs.weights(name), runs.weights(f"{optimizer}-alone"), WEIGHT_TOLERANCE[optimizer])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_process_goes_on_with_what_two_began(runs, optimizer, engine):
    name = f"{optimizer}-{engine}"
    copy_as_killed_after_step_3(runs.folder / name, runs.folder / f"{name}-to-alone")
    runs.alone(f"{name}-to-alone", resume=True, optimizer={"name": optimizer})
    assert runs.losses(f"{name}-to-alone") == pytest.approx(runs.losses(name), rel=TOLERANCE[optimizer])
    # The weights are an average that began before step 3.
    assert_close_weights(runs.weights(f"{name}-to-alone"), runs.weights(name), WEIGHT_TOLERANCE[optimizer])


@pytest.mark.parametrize(("before", "engine"), RESUMED_TOGETHER)
def test_two_processes_go_on_with_what_others_began(runs, before, engine):
    name = f"{before}-to-{engine}"
    assert name not in runs.errors
    optimizer = before.split("-")[0]
    assert runs.losses(name)[:3] == runs.losses(before)[:3]
    assert runs.losses(name) == pytest.approx(runs.losses(before), rel=TOLERANCE[optimizer])
    assert_close_weights(runs.weights(name), runs.weights(before), WEIGHT_TOLERANCE[optimizer])


def test_fsdp_writes_a_share_in_each_process_and_pickles_nothing(runs):
    newest = newest_checkpoint(runs.folder / "adamw-fsdp" / "checkpoints")
    shards = sorted(newest.glob("*.safetensors"))
    sizes = [path.stat().st_size for path in shards]
    assert len(shards) == 2
    assert max(sizes) < 1.5 * min(sizes)
    assert {path.suffix for path in newest.iterdir()} == {".safetensors", ".json"}


def test_rows_that_cannot_be_shared_evenly_are_refused(runs):
    assert "training.batch_rows = 3 cannot be shared by 2 processes" in runs.errors["odd"]


def test_processes_that_read_other_data_are_refused(runs):
    assert "do not have the same recipe and data" in runs.errors["differing"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_disk_stops_all_and_leaves_nothing_half_written(runs, engine):
    assert "cannot write" in runs.errors[f"full-{engine}"]
    assert f"full-{engine}" in runs.others_errors
    assert list((runs.folder / f"full-{engine}" / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_the_full_disk_of_any_process_ends_all_with_its_message(runs, engine):
    said = runs.errors[f"full-in-one-{engine}"]
    if "disk of its own" in said:
        pytest.skip(said)
    words = {"ddp": "no space for checkpoint", "fsdp": "cannot write checkpoint"}[engine]
    assert words in said
    assert "process 1: " in said
    assert words in runs.others_errors[f"full-in-one-{engine}"]
    assert list((runs.folder / f"full-in-one-{engine}" / "checkpoints").iterdir()) == []


def test_a_time_budget_gives_all_processes_the_same_steps(runs):
    assert "timed" not in runs.errors
    recipe = yaml.safe_load((runs.folder / "timed" / "recipe.yaml").read_text())
    assert recipe["training"]["steps"] == len(runs.losses("timed")) > 0
    share = [row["mfu"] for row in read_metrics(runs.folder / "timed" / "metrics.jsonl") if "mfu" in row]
    assert len(share) == 1
    assert 0 < share[0] < 1


@pytest.mark.parametrize("engine", ENGINES)
def test_all_processes_skip_the_same_steps(runs, engine):
    def skipped(name):
        rows = read_metrics(runs.folder / name / "metrics.jsonl")
        return [row["step"] for row in rows if "skipped" in row]

    assert f"skipping-{engine}" not in runs.errors
    assert skipped(f"skipping-{engine}") == skipped("skipping-alone") != []
    assert runs.losses(f"skipping-{engine}") == pytest.approx(runs.losses("skipping-alone"), rel=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_divergence_stops_all_processes_alike(runs, engine):
    said = runs.errors[f"diverging-{engine}"]
    assert "training diverged at step" in said
    assert said == runs.others_errors[f"diverging-{engine}"]


def started(runs, name):
    """A long run of two processes under torchrun, some steps after its start."""
    process = torchrun("-m", "jielong", "pretrain", runs.recipe(name, steps=100_000, parallel="fsdp"))
    metrics = runs.folder / name / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) > 6):
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]
    return process


def environment(process):
    return Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")


def test_the_death_of_one_process_ends_all_with_a_message(runs):
    process = started(runs, "killed")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    victim = next(child for child in children if "RANK=1" in environment(child))
    os.kill(int(victim), signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "jielong: process 0 lost contact with the others" in error
    assert "--resume" in error
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert newest_checkpoint(runs.folder / "killed" / "checkpoints") is not None


def test_a_signal_to_torchrun_stops_all_after_the_same_step(runs):
    process = started(runs, "stopped")
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert error.count("jielong: stopped after step") == 1
    newest = newest_checkpoint(runs.folder / "stopped" / "checkpoints")
    assert f"saved {newest}" in error
    assert newest.name == f"step-{len(runs.losses('stopped')):06d}"


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 1, reason="needs a CUDA device")
def test_a_gpu_in_bfloat16_takes_the_steps_of_a_cpu(tmp_path):
    runs = Runs(tmp_path)
    runs.alone("cpu")
    for name, settings in {"cuda": {}, "again": {"activation_checkpointing": True}}.items():
        runs.alone(name, device="cuda", precision="bfloat16", compile="yes", **settings)
        assert runs.losses(name) == pytest.approx(runs.losses("cpu"), rel=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("engine", ENGINES)
def test_two_gpus_take_the_steps_of_one(tmp_path, engine):
    runs = Runs(tmp_path)
    runs.alone("one", device="cuda")
    recipe = runs.recipe("two", device="cuda", parallel=engine)
    process = torchrun("-m", "jielong", "pretrain", recipe)
    _, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    assert runs.losses("two") == pytest.approx(runs.losses("one"), rel=1e-4)
