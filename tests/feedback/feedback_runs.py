"""Started by torchrun in test_two_processes.py: runs the recipes of a list, one by one, in one group."""

import json
import shutil
import sys
from pathlib import Path

import torch

from jielong.core.errors import JielongError
from jielong.feedback import rl_stage
from jielong.feedback.answers import split_inputs
from jielong.feedback.dpo import run_preference_learning
from jielong.feedback.reward_model import run_reward_modelling
from jielong.feedback.settings import PreferenceSettings, RewardSettings, RlSettings
from jielong.training.distributed import is_main, main_first, process_group, rank, share, world_size

STAGES = {
    "rl": (RlSettings, rl_stage.run_rl),
    "reward": (RewardSettings, run_reward_modelling),
    "dpo": (PreferenceSettings, run_preference_learning),
}


def copy_as_killed_after(step, run, copy):
    """A copy of a run as a kill would have left it soon after its checkpoint of a step."""
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "model")
    for other in (copy / "checkpoints").iterdir():
        if other.name != f"step-{step:06d}":
            shutil.rmtree(other)


def first_rollout(settings):
    """This process's answers of the first pass over the first rollout: tokens, score, advantages of each."""
    batches = rl_stage.rl_stage(settings).batches
    torch.manual_seed(0)
    found = []
    for number in range(settings.answers_per_rollout // settings.training.batch_rows):
        inputs = batches.draw(number, torch.device("cpu"), share()).inputs
        answers, known = split_inputs(inputs)
        targets, mask = answers.targets, answers.mask
        _, _, advantages, _, _, _, told, _ = known
        for row in range(len(mask)):
            found.append(
                [targets[row][mask[row]].tolist(), *told[row].tolist(), advantages[row][mask[row]].tolist()]
            )
    return found


def run(job):
    """Run one job; returns what it said where it failed."""
    kind, go = STAGES[job["stage"]]
    settings = kind.load(Path(job["recipe"]))
    if job.get("only_rollout"):
        settings.out.with_suffix(f".{rank()}-of-{world_size()}.json").write_text(
            json.dumps(first_rollout(settings))
        )
        return {}
    if "goes_on_with" in job:
        with main_first():
            if is_main():
                copy_as_killed_after(job["step"], settings.out.with_name(job["goes_on_with"]), settings.out)
    try:
        go(settings, resume="goes_on_with" in job, quiet=True)
        return {}
    except JielongError as error:
        return {settings.out.name: str(error)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    errors = {}
    with process_group("cpu"):
        for job in json.loads(Path(sys.argv[1]).read_text()):
            errors |= run(job)
        Path(sys.argv[1]).with_suffix(f".errors-{rank()}").write_text(json.dumps(errors))
