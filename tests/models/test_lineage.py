"""Lineage: the record beside a model, and the family tree that follows from it."""

import io
import json

import pytest
from rich.console import Console

from jielong.core.errors import JielongError
from jielong.models import (
    Transformer,
    add_measurements,
    family_tree,
    model_hash,
    qwen3_config,
    read_lineage,
    render_family_tree,
    save_model,
    write_lineage,
)


def make(folder, seed, stage, parents=(), **measured):
    save_model(Transformer(qwen3_config(64, 1, 97, 64), seed=seed), folder, eos_id=2)
    data = [{"name": "a.jsonl", "sha256": "0" * 64}]
    recipe = {"learning_rate": 0.001}
    write_lineage(
        folder, stage=stage, recipe=recipe, seed=seed, data=data, parents=parents, measured=measured
    )
    return folder


@pytest.fixture
def family(tmp_path):
    base = make(tmp_path / "run/pretrain/model", 1, "pretrain", bits_per_byte=1.25)
    sft = make(tmp_path / "run/sft/model", 2, "sft", [base])
    return make(tmp_path / "run/merge/model", 3, "merge", [sft, base])


def shown(folder):
    console = Console(file=io.StringIO(), width=300)
    console.print(render_family_tree(folder))
    return console.file.getvalue()


def test_the_record_holds_what_the_stage_used(family):
    lineage = read_lineage(family.parent.parent / "sft/model")
    assert lineage["stage"] == "sft" and lineage["seed"] == 2
    assert lineage["recipe"] == {"learning_rate": 0.001}
    assert lineage["data"][0]["name"] == "a.jsonl"
    assert lineage["parents"][0]["path"] == "../../pretrain/model"
    assert lineage["parents"][0]["hash"] == model_hash(family.parent.parent / "pretrain/model")
    assert set(lineage["versions"]) == {"jielong", "torch", "python"}
    assert lineage["hash"] == model_hash(family.parent.parent / "sft/model")


def test_the_same_run_writes_the_same_bytes(tmp_path):
    for run in ("a", "b"):
        base = make(tmp_path / run / "base", 1, "pretrain", loss=2.0)
        make(tmp_path / run / "sft", 2, "sft", [base])
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), (
            path.name
        )


def test_the_tree_follows_every_parent(family):
    tree = family_tree(family)
    assert (tree.stage, tree.state) == ("merge", "here")
    assert [parent.stage for parent in tree.parents] == ["sft", "pretrain"]
    assert tree.parents[0].parents[0].measured == {"bits_per_byte": 1.25}
    assert tree.parents[0].parents[0].hash == tree.parents[1].hash
    assert tree.parameters == sum(p.numel() for p in Transformer(qwen3_config(64, 1, 97, 64)).parameters())


def test_a_run_that_moves_as_a_whole_keeps_its_tree(family, tmp_path):
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    tree = family_tree(tmp_path / "elsewhere/merge/model")
    assert [parent.state for parent in tree.parents] == ["here", "here"]


def test_a_parent_that_is_gone_or_replaced_is_shown_by_its_hash(family, tmp_path):
    known = family_tree(family)
    base, sft = tmp_path / "run/pretrain/model", tmp_path / "run/sft/model"
    base.rename(tmp_path / "moved")
    tree = family_tree(family)
    assert tree.parents[1].state == "moved"
    assert tree.parents[1].hash == known.parents[1].hash
    assert known.parents[1].hash[:12] in shown(family) and "no longer at this path" in shown(family)
    sft.rename(tmp_path / "old")
    make(sft, 9, "sft")
    tree = family_tree(family)
    assert tree.parents[0].state == "changed"
    assert tree.parents[0].hash == known.parents[0].hash
    assert tree.parents[0].parents == ()


def test_weights_changed_under_their_lineage_are_told(family):
    config = json.loads((family / "config.json").read_text())
    (family / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-5}))
    assert family_tree(family).state == "changed"


def test_the_terminal_shows_stage_size_hash_and_figures(family):
    add_measurements(family, {"exam": {"persona": 0.9712345}})
    text = shown(family)
    for word in (
        "merge",
        "sft",
        "pretrain",
        "55.6k parameters",
        model_hash(family)[:12],
        "bits_per_byte: 1.25",
    ):
        assert word in text
    assert "exam.persona: 0.9712" in text


def test_figures_are_added_without_changing_the_hash(family):
    before = model_hash(family)
    add_measurements(family, {"x": 1})
    add_measurements(family, {"y": 2})
    assert read_lineage(family)["measured"] == {"x": 1, "y": 2}
    assert model_hash(family) == before


def test_a_model_made_elsewhere_has_no_lineage(tmp_path):
    save_model(Transformer(qwen3_config(64, 1, 97, 64)), tmp_path / "m", eos_id=2)
    assert read_lineage(tmp_path / "m") is None
    tree = family_tree(tmp_path / "m")
    assert tree.stage is None and tree.parameters
    assert "origin unknown" in shown(tmp_path / "m")


def test_what_is_not_a_model_or_a_record_is_one_clear_line(family, tmp_path):
    with pytest.raises(JielongError, match="not a model folder"):
        family_tree(tmp_path)
    (family / "lineage.json").write_text('{"stage": "sft"}')
    with pytest.raises(JielongError, match=r"lineage\.json: hash is missing"):
        family_tree(family)


def test_a_foreign_model_in_the_parents_place_is_told(family, tmp_path):
    """Without a lineage of its own, only its hash gives it away."""
    base = tmp_path / "run/pretrain/model"
    base.rename(tmp_path / "moved")
    save_model(Transformer(qwen3_config(64, 1, 97, 64), seed=8), base, eos_id=2)
    assert family_tree(family).parents[1].state == "changed"
    assert "the folder holds other weights now" in shown(family)
