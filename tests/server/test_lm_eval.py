"""lm-eval through HTTP gives the scores that it gives with transformers."""

import json
from pathlib import Path

import pytest

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
{more}
metadata: {{version: 1.0}}
"""
CHOICE = 'doc_to_choice: "{{choices}}"\nmetric_list: [{metric: acc}, {metric: acc_norm}]'
GENERATE = 'generation_kwargs: {until: ["\\n"], max_gen_toks: 6}\nmetric_list: [{metric: exact_match}]'
ITEMS = [
    {"question": "台灣最高的山是", "choices": ["玉山", "打狗", "Yushan"], "answer": 0},
    {"question": "Water boils at", "choices": ["100 degrees", "the mountain", "Taipei"], "answer": 0},
    {"question": "高雄舊稱", "choices": ["台灣", "打狗", "你好！🙂"], "answer": 1},
]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory, monkeypatch_module) -> Path:
    place = tmp_path_factory.mktemp("tasks")
    monkeypatch_module.setenv("HF_HOME", str(place / "cache"))
    monkeypatch_module.setenv("HF_HUB_OFFLINE", "1")
    (place / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    for name, kind, more in (("choose", "multiple_choice", CHOICE), ("write", "generate_until", GENERATE)):
        text = TASK.format(name=name, file=place / "items.jsonl", kind=kind, more=more)
        (place / f"{name}.yaml").write_text(text)
    return place


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.slow
def test_scores_through_http_are_those_of_transformers(server, folder, tasks):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)

    def samples(model) -> dict:
        return simple_evaluate(
            model, tasks=["choose", "write"], task_manager=manager, log_samples=True, bootstrap_iters=0
        )

    served = samples(
        LocalCompletionsAPI(
            base_url=f"{server.url}/v1/completions",
            model="tiny",
            tokenizer_backend="remote",
            tokenized_requests=True,
            batch_size=4,
            max_length=1000,
        )
    )
    direct = samples(HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=2))
    for name, metrics in direct["results"].items():
        assert served["results"][name] == metrics
    for ours, theirs in zip(served["samples"]["choose"], direct["samples"]["choose"], strict=True):
        for (logprob, greedy), (expected, expected_greedy) in zip(
            ours["filtered_resps"], theirs["filtered_resps"], strict=True
        ):
            assert logprob == pytest.approx(expected, abs=1e-3)
            assert greedy == expected_greedy
    for ours, theirs in zip(served["samples"]["write"], direct["samples"]["write"], strict=True):
        assert ours["filtered_resps"] == theirs["filtered_resps"]
