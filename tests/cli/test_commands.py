import json
import subprocess
import sys

import pytest

from jielong.cli import build_app, main


def jielong(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "jielong", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def test_help_lists_every_command_without_importing_torch():
    code = (
        "import sys; from jielong.cli import main\n"
        "try: main(['--help'])\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("False")
    for name in (
        "quickstart",
        "world",
        "tokenizer",
        "plan",
        "pretrain",
        "sft",
        "reward",
        "dpo",
        "rl",
        "distill",
        "rollouts",
        "judge",
        "chat",
        "complete",
        "serve",
        "exam",
        "export",
        "show",
    ):
        assert name in done.stdout


@pytest.mark.parametrize(
    "command",
    ["quickstart", "plan", "pretrain", "sft", "reward", "dpo", "rl", "distill", "rollouts", "judge", "chat",
     "complete", "serve", "exam", "show"],
)  # fmt: skip
def test_every_command_has_help_in_which_each_setting_is_described(command, capsys):
    build_app()([command, "--help"], exit_on_error=False, result_action="return_value")
    shown = capsys.readouterr().out
    assert f"jielong {command}" in shown
    if command in {"pretrain", "sft", "reward", "dpo", "rl", "distill"}:
        assert "training.optimizer.lr" in shown
        assert "Peak learning rate" in shown


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nonsense"], 2, ["nonsense"]),
        (["world", "make"], 2, ["directory"]),
        (["pretrain", "--set", "data=[x]", "--set", "trainin.steps=3"], 2, ["trainin", "training"]),
        (["pretrain", "--set", "data=[/nowhere]"], 1, ["/nowhere", "does not exist"]),
        (["judge", "/nowhere", "a.jsonl", "-o", "b.jsonl"], 2, ["there is no model /nowhere"]),
        (["rollouts", "--set", "parent=/nowhere", "--set", "prompts=[x]"], 1, ["/nowhere"]),
        (["show", "/nowhere"], 1, ["/nowhere is not a model folder"]),
        (["complete", "/nowhere", "x"], 1, ["/nowhere is not a model folder"]),
        (["quickstart", "--instructions", "x.jsonl"], 2, ["jielong: --instructions needs --data"]),
        (["quickstart", "--width", "64"], 2, ["jielong: --width and --layers go together"]),
        (["quickstart", "--layers", "2"], 2, ["jielong: --width and --layers go together"]),
    ],
)
def test_wrong_usage_is_one_line_and_the_right_status(
    arguments, status, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    older = tmp_path / "runs" / "quickstart" / "report.html"
    older.parent.mkdir(parents=True)
    older.touch()
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert older.exists(), "a wrong command harms no older run"
    assert left.value.code == status
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1, said
    assert all(word in said for word in words), said


def test_a_traceback_is_shown_only_when_it_is_asked_for():
    quiet, debug = jielong("show", "/nowhere"), jielong("show", "/nowhere", "--debug")
    assert quiet.returncode == 1
    assert quiet.stderr.startswith("jielong: /nowhere is not a model folder")
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in debug.stderr


def test_world_make_prints_json_for_machines(tmp_path):
    done = jielong("world", "make", tmp_path / "world", "--size", "tiny", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["counts"]["true_facts"] >= 120


def test_a_tokenizer_is_trained_and_shown(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "text.txt").write_text("文字接龍很好玩。The die rolls again and again.\n" * 200)
    (corpus / "more.jsonl").write_text(json.dumps({"text": "hello world " * 50}) + "\nbroken\n")
    made = jielong("tokenizer", "train", tmp_path / "tok", corpus, "--vocab-size", "400", "--json")
    assert json.loads(made.stdout)["documents"] == 2, made.stderr
    assert "1 skipped: line is not JSON (corpus/more.jsonl:2)" in made.stderr
    shown = json.loads(jielong("tokenizer", "show", tmp_path / "tok", "接龍 again", "--json").stdout)
    assert bytes.fromhex("".join(token["bytes"] for token in shown["tokens"])).decode() == "接龍 again"
    assert "接" in jielong("tokenizer", "show", tmp_path / "tok", "接龍").stdout
