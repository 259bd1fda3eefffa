import os
import subprocess
import sys

import pytest

from jielong.core.errors import UsageError
from jielong.core.files import hash_file, read_json
from jielong.world import make_world

_SCRIPT = """
import pathlib, sys
from jielong.world import make_world
make_world(pathlib.Path(sys.argv[1]), "tiny", 3)
"""


def _hashes(folder):
    return {path.name: hash_file(path) for path in sorted(folder.iterdir())}


def test_same_seed_gives_same_bytes_in_another_process_with_another_hash_seed(tmp_path):
    for hash_seed in ("0", "12345"):
        environment = dict(os.environ, PYTHONHASHSEED=hash_seed)
        subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(tmp_path / hash_seed)], env=environment, check=True
        )
    assert _hashes(tmp_path / "0") == _hashes(tmp_path / "12345")


def test_another_seed_gives_another_world(tmp_path):
    make_world(tmp_path / "a", "tiny", 1)
    make_world(tmp_path / "b", "tiny", 2)
    first, second = _hashes(tmp_path / "a"), _hashes(tmp_path / "b")
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_unknown_size_names_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="tiny, small, medium"):
        make_world(tmp_path / "w", "huge", 1)
    assert not (tmp_path / "w").exists()


def test_summary_counts_what_the_files_hold(tiny):
    counts = read_json(tiny.folder / "world.json")["counts"]
    for name in ("facts", "pretrain", "pretrain_heldout", "instructions", "exams"):
        assert counts[name] == len(getattr(tiny, name)) > 0
    assert counts["true_facts"] >= 120


def test_importing_the_world_does_not_import_torch():
    code = "import sys, jielong.world; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_small_world_has_its_length(small):
    assert 4000 <= len(small.instructions) <= 8000
    assert 9000 <= len(small.turns("assistant")) <= 12000
    share = sum(row["lang"] == "zh" for row in small.instructions) / len(small.instructions)
    assert 0.45 < share < 0.55
    held_out = sum(len(row["text"]) for row in small.pretrain_heldout)
    total = sum(len(row["text"]) for row in small.pretrain)
    assert 0.015 < held_out / total < 0.025
    assert 3_000_000 < total < 5_000_000
