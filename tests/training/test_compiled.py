"""Compiled steps: killed, with a broken cache, and without a compiler that works."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from compiled import train
from killed import CONTEXT, kill, records, wait_for
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from jielong.training.compile_cache import remove_half_written
from jielong.training.precision import can_compile

pytestmark = pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="needs a C++ compiler")


def started(*arguments, **named):
    process = CONTEXT.Process(target=train, args=arguments, kwargs=named)
    process.start()
    return process


def ended(run, cache, status=0, **named):
    process = started(run, cache, **named)
    process.join(400)
    said = (run / "log.txt").read_text()
    assert process.exitcode == status, said
    assert "Traceback" not in said
    return said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_run_that_is_killed_goes_on_to_the_same_bytes_though_its_cache_is_broken(tmp_path):
    cache, whole, broken = (tmp_path / name for name in ("cache", "whole", "broken"))
    ended(whole, cache)
    kernels = sorted(cache.glob("??/*.main.so"))
    assert len(kernels) >= 2
    for library, length in zip(kernels, (0, 3000), strict=False):  # loading 3000 bytes of it is a SIGBUS
        with library.open("r+b") as file:
            file.truncate(length)
    process = started(broken, cache)
    wait_for(process, lambda: records(broken) > 4)
    assert kill(process), (broken / "log.txt").read_text()
    assert not (broken / "weights.safetensors").exists()
    assert "no checkpoint" not in ended(broken, cache, resume=True)
    written = [(run / "weights.safetensors").read_bytes() for run in (whole, broken)]
    assert written[0] == written[1]
    assert (broken / "compiled").read_text() == "True"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_run_on_two_threads_gives_the_same_bytes_each_time(tmp_path):
    cache, runs = tmp_path / "cache", [tmp_path / name for name in "ab"]
    for run in runs:
        # Large enough that the kernels share their work out, sums over rows and tokens among it.
        ended(run, cache, threads=2, batch_rows=32, context=128, checkpoint_every=100)
        assert (run / "compiled").read_text() == "True"
        assert '"threads": 2' in next((run / "checkpoints").rglob("progress.json")).read_text()
    assert any("omp parallel" in source.read_text() for source in cache.glob("??/*.cpp"))
    assert len({(run / "weights.safetensors").read_bytes() for run in runs}) == 1


def test_where_the_step_cannot_be_compiled_auto_goes_on_without_and_yes_says_so(tmp_path):
    auto, strict, cache = (tmp_path / name for name in ("auto", "strict", "cache"))
    # Two minutes are worth compiling; it is the steps that end it.
    process = started(auto, cache, compiler="false", compile="auto", steps=None, minutes=2.0)
    wait_for(process, lambda: records(auto) > 12)
    assert kill(process), (auto / "log.txt").read_text()
    assert (auto / "log.txt").read_text().count("the training step cannot be compiled, so it is not (") == 1
    said = ended(strict, cache, status=1, compiler="false", compile="yes")
    assert len(said.splitlines()) == 1
    assert said.startswith("the training step cannot be compiled (")
    assert "training.compile=no" in said


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of compiled libraries, and one of precompiled headers."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "cache" / "ab"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A real library."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "a.cpp").write_text("int f() { return 1; }")
    subprocess.run(["c++", "-shared", "-fPIC", "a.cpp", "-o", "a.so"], cwd=folder, check=True)
    return folder / "a.so"


def test_a_library_of_any_length_but_its_own_is_removed(cache, library):
    content = library.read_bytes()
    lengths = [*range(0, len(content), 997), 1, 63, 64, len(content) - 1]
    (cache / "cabc0.main.so").write_bytes(content)
    for length in lengths:
        (cache / f"cabd{length}.main.so").write_bytes(content[:length])
        (cache / f"cabe{length}.so").write_bytes(bytes(length))
    assert len(remove_half_written()) == 2 * len(set(lengths))
    assert [path.name for path in cache.iterdir()] == ["cabc0.main.so"]
    assert remove_half_written() == []


def test_what_an_unfinished_build_has_written_is_removed(cache, library):
    headers = Path(default_cache_dir()) / "precompiled_headers"
    headers.mkdir(parents=True)
    for folder, source, output in (
        (cache, "cabc.main.cpp", "cabc.main.so"),
        (headers, "cdef.h", "cdef.h.gch"),
    ):
        for name in (source, output):
            shutil.copy(library, folder / name)
            shutil.copy(library, folder / f"x{name}")
    (cache / "cabc.main_CxxBuild").mkdir()
    (headers / "cdef.h_CxxBuild").mkdir()
    assert sorted(path.name for path in remove_half_written()) == ["cabc.main.so", "cdef.h.gch"]
    assert sorted(path.name for path in cache.iterdir()) == [
        "cabc.main.cpp",
        "xcabc.main.cpp",
        "xcabc.main.so",
    ]
    assert not (headers / "cdef.h.gch").exists()
    assert {"cdef.h", "xcdef.h", "xcdef.h.gch"} <= {path.name for path in headers.iterdir()}


COMPILER = """
import sys, time
from torch.utils._filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_what_a_living_process_is_building_stays_until_it_is_dead(cache):
    locks = cache.parent / "locks"
    locks.mkdir()
    half = cache / "cabc.main.so"
    half.write_bytes(b"")
    (cache / "cabc.main_CxxBuild").mkdir()
    command = [sys.executable, "-c", COMPILER, locks / "cabc.lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert remove_half_written() == []
        assert half.exists()
        process.kill()
    assert remove_half_written() == [half]
    assert list(cache.iterdir()) == []
