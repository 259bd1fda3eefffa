import json

import pytest

from jielong.cli import main


def test_machine_prints_its_limits_for_people_and_for_machines(capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "zh_TW.UTF-8")
    main(["plan", "--machine", "--seconds", "0.1"])
    assert "記憶體頻寬" in capsys.readouterr().out
    main(["plan", "--machine", "--json", "--seconds", "0.1"])
    limits = json.loads(capsys.readouterr().out)
    assert {rate["name"] for rate in limits["matmul"]} == {"square", "mlp", "down", "weights", "head"}
    assert all(rate["flops"] > 0 for rate in limits["matmul"])
    assert limits["training"]["flops"] > 0
    assert limits["threads"] == 1


def test_a_budget_becomes_a_network(capsys, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    main(["plan", "--minutes", "10", "--context", "64", "--seconds", "0.1"])
    shown = capsys.readouterr().out
    for word in ("shape", "parameters", "tokens", "expected loss", "10m00s", "memory", "reason", "law"):
        assert word in shown
    main(["plan", "--params", "5.6M", "--tokens", "20M", "--context", "64", "--json", "--seconds", "0.1"])
    chosen = json.loads(capsys.readouterr().out)
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
def test_wrong_usage_is_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as done:
        main(["plan", *arguments])
    assert done.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
