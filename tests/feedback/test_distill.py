"""On-policy distillation end to end: the student comes to say what the teacher says."""

import shutil

import pytest
import torch
from finished_run import assert_equal_weights, metrics_of

from jielong.core.errors import JielongError
from jielong.feedback.distill import run_distillation
from jielong.feedback.settings import DistillSettings
from jielong.models import Transformer, load_model, save_model
from jielong.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, parent):
    """The student, moved a good way off."""
    folder = tmp_path_factory.mktemp("teacher")
    model, tokenizer = load_model(parent), Tokenizer.load(parent)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    save_model(model, folder, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, pad_id=tokenizer.pad_id)
    tokenizer.save(folder)
    return folder


@pytest.fixture
def recipe(tmp_path, parent, teacher, prompts):
    def make(name="run", **values):
        training = {"steps": 30, "batch_rows": 16, "precision": "float32", "compile": "no", "device": "cpu",
                    "validate_every": 100, "optimizer": {"lr": 3e-3}, "schedule": {"warmup": 0},
                    **values.pop("training", {})}  # fmt: skip
        return DistillSettings.parse({
            "out": tmp_path / name, "parent": parent, "teacher": teacher, "prompts": [prompts],
            "max_tokens": 8, "prompts_per_rollout": 16, "samples": 2, "training": training, **values,
        })  # fmt: skip

    return make


@pytest.mark.parametrize("values", [{"beta": 1.0}, {"beta": 0.5}, {"beta": 0.0, "answers_by": "teacher"}])
def test_the_student_comes_nearer_to_the_teacher(recipe, values):
    run = recipe(**values)
    run_distillation(run, quiet=True)
    rows = metrics_of(run.out)
    assert rows[0]["divergence"] > 0.01
    assert rows[-1]["divergence"] < 0.5 * rows[0]["divergence"]
    assert rows[0]["loss"] == pytest.approx(rows[0]["divergence"], rel=1e-4)


def test_a_teacher_teaches_itself_nothing(recipe, teacher):
    run = recipe(parent=teacher, training={"steps": 1})
    run_distillation(run, quiet=True)
    (row,) = metrics_of(run.out)
    assert row["divergence"] == pytest.approx(0, abs=1e-6)
    assert row["grad_norm"] < 1e-3


def test_a_resumed_run_ends_bit_for_bit_alike(recipe):
    values = {"training": {"steps": 8, "checkpoint_every": 4}}
    whole, half = recipe("whole", **values), recipe("half", **values)
    run_distillation(whole, quiet=True)
    run_distillation(half, quiet=True)
    shutil.rmtree(half.out / "checkpoints" / "step-000008")
    run_distillation(half, resume=True, quiet=True)
    assert_equal_weights(whole.out, half.out)


def test_a_teacher_with_other_tokens_is_refused_in_one_line(recipe, tmp_path):
    tokenizer = train_tokenizer(iter(["別的字"] * 4), 300)
    folder = tmp_path / "other"
    config = load_model(recipe().parent).config
    save_model(
        Transformer(config), folder, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, pad_id=tokenizer.pad_id
    )
    tokenizer.save(folder)
    with pytest.raises(JielongError, match="another tokenizer"):
        run_distillation(recipe(teacher=folder), quiet=True)
