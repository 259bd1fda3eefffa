"""Started by torchrun in test_distributed.py: trains the recipes of a list, one by one, in one group.

Starting processes takes longer than these runs do, so runs share them.
"""

import ctypes
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from jielong.core.errors import JielongError
from jielong.training.distributed import failing_together, is_main, main_first, process_group, rank
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import PretrainSettings


def copy_as_killed_after_step_3(run, copy):
    """A copy of a run as a kill would have left it soon after its checkpoint of step 3."""
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "model")
    for other in (copy / "checkpoints").iterdir():
        if other.name != "step-000003":
            shutil.rmtree(other)


def give_this_process_a_small_disk(folder):
    """Mount a few kilobytes at a folder where only this process sees them, as if it were another machine."""
    new_namespace = 0x20000  # CLONE_NEWNS
    if ctypes.CDLL(None).unshare(new_namespace):
        raise JielongError("a process cannot have a disk of its own here")
    for words in (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]):
        if subprocess.run(["mount", *words], check=False).returncode:
            raise JielongError("a process cannot have a disk of its own here")


def run(job):
    settings = PretrainSettings.load(Path(job["recipe"]))
    if "data" in job:  # one file for each process
        settings = settings.model_copy(update={"data": (Path(job["data"][rank()]),)})
    if "goes_on_with" in job:
        with main_first():
            if is_main():
                copy_as_killed_after_step_3(settings.out.with_name(job["goes_on_with"]), settings.out)
    limited = job.get("limited_process", rank()) == rank()
    most = job.get("most_bytes", resource.RLIM_INFINITY) if limited else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        with failing_together():
            if job.get("small_disk_of_process") == rank():
                (settings.out / "checkpoints").mkdir(parents=True)
                give_this_process_a_small_disk(settings.out / "checkpoints")
        run_pretraining(settings, resume="goes_on_with" in job, quiet=True)
        return {}
    except JielongError as error:
        return {settings.out.name: str(error)}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


if __name__ == "__main__":
    torch.set_num_threads(1)
    errors = {}
    with process_group("cpu"):
        for job in json.loads(Path(sys.argv[1]).read_text()):
            errors |= run(job)
        Path(sys.argv[1]).with_suffix(f".errors-{rank()}").write_text(json.dumps(errors))
