"""The step, compiled: torch.compile around the objective, and what is said where that fails."""

from typing import Any

import torch

from jielong.core.errors import JielongError
from jielong.core.progress import console
from jielong.training.compile_cache import remove_half_written
from jielong.training.distributed import world_size
from jielong.training.gradients import Objective

_OPTIONS: dict[str, Any] = {"cpp.vec_isa_ok": True}
"""Inductor knows what the processor can do. Whether the C++ compiler can too, it would find out by compiling
three programs, 9 s of a processor; every compiler that takes torch's headers can."""


def compile_objective(objective: Objective) -> Objective:
    """Compile a function for one shape of its arguments, when it is first called.

    What killed runs have left half-written in the cache of compiled code is removed before.
    """
    remove_half_written()
    return torch.compile(objective, dynamic=False, options=_OPTIONS)


def may_go_on_uncompiled(error: Exception, wanted: str) -> bool:
    """Whether an error says that the step cannot be compiled, and the run may do without; then say so.

    Args:
        error: of the first step that was compiled.
        wanted: the setting `training.compile`.

    Raises:
        JielongError: the step cannot be compiled, but that was asked for, or other processes compile it.
    """
    reason = _why_not_compiled(error)
    if reason is None:
        return False
    if wanted == "yes" or world_size() > 1:
        raise JielongError(
            f"the training step cannot be compiled ({reason}); add --set training.compile=no to train "
            "uncompiled, at about half the speed"
        ) from error
    console().print(f"the training step cannot be compiled, so it is not ({reason})", markup=False)
    return True


def _why_not_compiled(error: Exception) -> str | None:
    """The reason in one line; None for an error of another kind."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError

    # A library that is compiled but cannot be loaded is an ImportError.
    if not isinstance(error, TorchDynamoException | CppCompileError | ImportError):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # Of what the C++ compiler says, the first error; else how torch begins.
    said = next((line for line in lines if " error: " in line), lines[0])
    return said if len(said) <= 200 else f"{said[:200]}..."
