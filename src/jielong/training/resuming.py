"""Where a run that is resumed goes on."""

from dataclasses import replace
from pathlib import Path

from jielong.core.errors import UsageError
from jielong.core.progress import console
from jielong.training.averaging import first_that_depends_on_length
from jielong.training.checkpoint import Progress, newest_checkpoint, read_progress, step_of
from jielong.training.identity import RunIdentity, data_differences, length_of, refuse_changes
from jielong.training.schedule import Plans
from jielong.training.settings import TrainingSettings


def find_resume_point(
    checkpoints: Path, identity: RunIdentity, settings: TrainingSettings, plans: Plans, force: bool
) -> tuple[Path, Progress] | None:
    """The checkpoint to go on from and where the run stood there; None when there is none.

    It is the newest one. But where the length (steps, epochs, minutes) was changed, it is the newest one that
    a run of the new length would have written too: before the learning rate fell in either of them. So a run
    that is made longer is what it would have been, had it been given that length at first.

    Args:
        checkpoints: their folder.
        identity: recipe and data of the run as it is started now.
        settings: of the training, as they are now.
        plans: the length of the run as it is now; none when a time budget will fix it.
        force: go on although the data changed, or from a checkpoint where the rate has begun to fall.

    Raises:
        UsageError: data changed, or no checkpoint fits the new length, without `force`.
    """
    path = newest_checkpoint(checkpoints)
    if path is None:
        return None
    progress = read_progress(path)
    changes = data_differences(progress.identity.data, identity.data)
    refuse_changes(checkpoints.parent, "data", changes, force)
    if length_of(progress.identity.recipe) == length_of(identity.recipe):
        return path, progress
    path = _branch(checkpoints, path, settings, [progress.plans, plans], force)
    return path, replace(read_progress(path), plans=plans)


def _branch(
    checkpoints: Path, newest: Path, settings: TrainingSettings, lengths: list[Plans], force: bool
) -> Path:
    limits = [first_that_depends_on_length(plans, settings) for plans in lengths if plans]
    path = newest_checkpoint(checkpoints, min(limits)) if limits else newest
    if path is None and force and (not lengths[-1] or step_of(newest) <= lengths[-1][-1][1]):
        return newest
    if path is None:
        raise UsageError(
            f"cannot change the length of {checkpoints.parent}: no checkpoint is left from before the "
            f"learning rate fell (step {min(limits):,}); make its model the `parent` of a new run, or add "
            f"--force to go on from step {step_of(newest):,} with a rate that jumps"
        )
    if path != newest:
        console().print(
            f"the length changed: going on from step {step_of(path):,}, before the learning rate fell; "
            f"the steps up to {step_of(newest):,} are taken anew"
        )
    return path
