"""A small exam, and two tiny random models in real folders."""

from pathlib import Path

import pytest

from jielong.evaluation.items import ExamItem
from jielong.models import Transformer, qwen3_config, save_model, write_lineage
from jielong.tokenizer import Tokenizer, train_tokenizer


def question(skill: str, lang: str, number: int, text: str, **more) -> ExamItem:
    row = {"id": f"{skill}-{lang}-{number}", "skill": skill, "lang": lang, "form": "plain", **more}
    return ExamItem.parse(row | {"messages": [{"role": "user", "content": text}]})


@pytest.fixture(scope="session")
def items() -> list[ExamItem]:
    """18 questions of several skills in both languages; four-choice ones among them."""
    made = []
    unknown = ["不知道", "I don't know"]
    for number, (zh, en) in enumerate([("台南", "Tainan"), ("花蓮", "Hualien"), ("澎湖", "Penghu")]):
        check = {"kind": "contains", "answers": [zh, en]}
        made.append(question("facts_taught", "zh", number, f"第 {number} 個人在哪裡出生？", check=check))
        made.append(question("facts_taught", "en", number, f"Where was person {number} born?", check=check))
        choices = ["台北", zh, "高雄", "台東"]
        made.append(
            question(
                "facts_heldout", "zh", number, f"{number} 號住哪？", form="choice", choices=choices, answer=1
            )
        )
        never = {"kind": "unknown", "answers": unknown}
        made.append(question("unknown", "zh", number, f"第 {number} 個人的鞋子幾號？", check=never))
        made.append(question("unknown", "en", number, f"Which shoes has person {number}?", check=never))
        total = {"kind": "number", "answers": [str(12 + number)]}
        made.append(question("arithmetic", "zh", number, f"12 + {number} = ?", check=total))
    return made


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(iter(["台灣最高的山是玉山。 The highest mountain is Yushan. 問：答："] * 3), 320)


@pytest.fixture(scope="session")
def model_folders(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two random models: a "pretrained" parent and its "sft" child, with metrics beside them."""
    root = tmp_path_factory.mktemp("runs")
    folders = root / "base" / "model", root / "sft" / "model"
    for seed, (folder, stage) in enumerate(zip(folders, ("pretrain", "sft"), strict=True)):
        folder.mkdir(parents=True)
        model = Transformer(qwen3_config(32, 1, tokenizer.vocab_size, 128), seed=seed)
        save_model(model, folder, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, pad_id=tokenizer.pad_id)
        tokenizer.save(folder)
        parents = [folders[0]] if seed else []
        write_lineage(folder, stage=stage, recipe={}, seed=seed, parents=parents, measured={"loss": 1.5})
        lines = '{"step": 1, "loss": 6.0}\n{"step": 2, "loss": 5.5}\n'
        lines += '{"step": 2, "validation_bits_per_byte": 3.1}\n'
        lines += '{"step": 2, "samples": [{"prompt": "從前", "text": "<img src=x onerror=alert(1)>"}]}\n'
        (folder.parent / "metrics.jsonl").write_text(lines, encoding="utf-8")
    return folders
