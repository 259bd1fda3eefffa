"""Real runs of the command line in processes of their own, which can be killed.

A fork server has torch imported once, so that a process starts in milliseconds.
"""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["jielong.cli.train", "jielong.training.pretrain"])


def command(arguments, folder):
    """What the process does: the command, in a folder, with its output in log.txt."""
    os.chdir(folder)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from jielong.cli import main

    main(arguments)
    sys.stdout.flush()


def start(folder, *arguments):
    process = _CONTEXT.Process(target=command, args=(list(arguments), str(folder)))
    process.start()
    return process


def finish(folder, *arguments):
    """Run to the end; returns the seconds it took."""
    began = time.monotonic()
    process = start(folder, *arguments)
    process.join(120)
    assert process.exitcode == 0, (Path(folder) / "log.txt").read_text()
    return time.monotonic() - began


def kill_after(process, seconds):
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def kill_in_writing(process, checkpoints, seconds):
    """Kill the process while a half-written checkpoint lies there; returns whether one was left behind."""
    until = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < until:
        if checkpoints.is_dir() and any(name.endswith(".tmp") for name in os.listdir(checkpoints)):
            break
    process.kill()
    process.join()
    return checkpoints.is_dir() and any(name.endswith(".tmp") for name in os.listdir(checkpoints))
