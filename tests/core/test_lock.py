import os
import signal
import subprocess
import sys

import pytest

from jielong.core.errors import JielongError, UsageError
from jielong.core.lock import folder_of_one_process, locked_file

HOLDER = """
import sys, time
from pathlib import Path
from jielong.core.lock import folder_of_one_process
with folder_of_one_process(Path(sys.argv[1]), "training"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works in a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path, holder):
    run = tmp_path / "run"
    for _ in range(2):  # being refused does not change what the next one is told
        with pytest.raises(UsageError) as refusal, folder_of_one_process(run, "training"):
            pass
        assert f"{run} is in use: process {holder.pid} on " in str(refusal.value)
        assert "\n" not in str(refusal.value)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (run / ".lock").read_text().startswith(f"{holder.pid} ")
    with folder_of_one_process(run, "training"):
        assert (run / ".lock").read_text().startswith(f"{os.getpid()} ")


def test_a_lock_is_given_up_at_the_end_and_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), folder_of_one_process(tmp_path, "training"):
            with locked_file(tmp_path / ".lock") as descriptor:
                assert descriptor is None
            raise KeyError


def test_programs_that_the_holder_started_do_not_hold_the_lock(tmp_path):
    with folder_of_one_process(tmp_path, "training"):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    with folder_of_one_process(tmp_path, "training"):
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("folder", "words"),
    [("file/run", "cannot make .*run: Not a directory"), ("odd", r"cannot write .*\.lock: Is a directory")],
)
def test_a_folder_that_cannot_be_locked_is_one_line(tmp_path, folder, words):
    (tmp_path / "file").write_text("")
    (tmp_path / "odd" / ".lock").mkdir(parents=True)
    with pytest.raises(JielongError, match=words), folder_of_one_process(tmp_path / folder, "training"):
        pass
