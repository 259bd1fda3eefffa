import json
import os
import subprocess
import sys

import pytest


def plan(*arguments, language="C"):
    return subprocess.run(
        [sys.executable, "-m", "jielong", "plan", *arguments],
        capture_output=True, text=True, timeout=200, check=False,
        env=os.environ | {"LC_ALL": language, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_machine_prints_its_limits_for_people_and_for_machines():
    shown = plan("--machine", "--seconds", "0.5", language="zh_TW.UTF-8")
    assert shown.returncode == 0, shown.stderr
    assert "記憶體頻寬" in shown.stdout
    limits = json.loads(plan("--machine", "--json", "--seconds", "0.5").stdout)
    assert {rate["name"] for rate in limits["matmul"]} == {"square", "mlp", "down", "weights", "head"}
    assert all(rate["flops"] > 0 for rate in limits["matmul"])
    assert limits["training"]["flops"] > 0
    assert limits["threads"] == 1


def test_a_budget_becomes_a_network():
    shown = plan("--minutes", "10", "--seconds", "0.5")
    assert shown.returncode == 0, shown.stderr
    for word in ("shape", "parameters", "tokens", "expected loss", "10m00s", "memory", "reason", "law"):
        assert word in shown.stdout
    chosen = json.loads(plan("--params", "5.6M", "--tokens", "20M", "--json", "--seconds", "0.5").stdout)
    assert (chosen["width"], chosen["layers"], chosen["tokens"]) == (256, 6, 2e7)
    parts = ("weights", "gradients", "optimizer", "activations")
    assert chosen["memory"]["total"] == sum(chosen["memory"][name] for name in parts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say what is given"),
        (["--machine", "--minutes", "3"], "--machine only measures"),
        (["--minutes", "3", "--flops", "1e12"], "both say how long"),
        (["--params", "many"], "--params 'many' is not a number"),
    ],
)
def test_wrong_usage_is_one_line(arguments, words):
    done = plan(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
