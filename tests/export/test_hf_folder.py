import shutil

import pytest
import torch

from jielong.core.errors import JielongError
from jielong.core.files import hash_file
from jielong.export import copy_hf_folder
from jielong.models import load_model, write_lineage


def test_the_copy_is_the_model_without_our_files(folders, tmp_path):
    folder = shutil.copytree(folders["llama"], tmp_path / "model")
    write_lineage(folder, stage="pretrain", recipe={}, seed=0)
    (folder / "report.json").write_text("{}")
    made = copy_hf_folder(folder, tmp_path / "copy")
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja",
    }  # fmt: skip
    assert made["files"] == len(names)
    assert all(hash_file(folder / name) == hash_file(tmp_path / "copy" / name) for name in names)
    ours, theirs = load_model(folder), load_model(tmp_path / "copy")
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_folder_with_something_in_it_is_left_alone(folders, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(JielongError, match="not empty"):
        copy_hf_folder(folders["llama"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
