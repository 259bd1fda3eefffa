import subprocess
import sys
import time

import pytest

from jielong.core.errors import JielongError
from jielong.core.files import (
    file_written_atomically,
    find_model,
    folder_written_atomically,
    hash_json,
    read_json,
    read_jsonl,
    to_jsonl,
    write_atomically,
)

_WRITER = """
import sys
from pathlib import Path
from jielong.core.files import write_atomically
for number in range(10**9):
    write_atomically(Path(sys.argv[1]), f"{number % 10}" * 1_000_000)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    target = tmp_path / "file.txt"
    for round_ in range(4):
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(target)])
        while not target.exists():
            time.sleep(0.005)
        time.sleep(0.02 + 0.013 * round_)
        process.kill()
        process.wait()
        content = target.read_text()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1


def test_a_file_written_by_somebody_else_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "new" / "weights"
    with file_written_atomically(target) as aside:
        aside.write_text("1")
        assert not target.exists()
    for failure in (RuntimeError, OSError):
        with pytest.raises((failure, JielongError)), file_written_atomically(target) as aside:
            aside.write_text("2")
            raise failure
    with pytest.raises(JielongError, match="cannot write"), file_written_atomically(target):
        pass  # nothing was written
    assert target.read_text() == "1"
    assert [file.name for file in target.parent.iterdir()] == ["weights"]


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "model"
    with folder_written_atomically(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    with pytest.raises(RuntimeError), folder_written_atomically(target) as folder:
        (folder / "a").write_text("2")
        raise RuntimeError
    assert (target / "a").read_text() == "1"
    with folder_written_atomically(target) as folder:
        (folder / "b").write_text("3")
    assert [file.name for file in target.iterdir()] == ["b"]
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_an_unwritable_place_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JielongError, match=r"cannot write .*below: "):
        write_atomically(tmp_path / "file" / "below", "x")


def test_broken_json_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(JielongError, match=r"rows\.jsonl:2 is not valid JSON"):
        read_jsonl(path)
    with pytest.raises(JielongError, match="does not exist"):
        read_json(tmp_path / "none.json")


def test_jsonl_round_trip(tmp_path):
    rows = [{"text": "第一行\n第二行 \u2028"}, {"n": 1.5}]
    path = tmp_path / "rows.jsonl"
    path.write_text(to_jsonl(rows))
    assert read_jsonl(path) == rows


def test_hash_json_ignores_the_order_of_keys():
    assert hash_json({"a": 1, "b": "中"}) == hash_json({"b": "中", "a": 1}) != hash_json({"a": 1, "b": "文"})


def test_find_model_takes_a_model_folder_or_a_run_folder(tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    assert find_model(tmp_path / "run") == find_model(tmp_path / "run" / "model")
    with pytest.raises(JielongError, match=r"has no config\.json"):
        find_model(tmp_path)
    with pytest.raises(JielongError, match="does not exist"):
        find_model(tmp_path / "gone")
