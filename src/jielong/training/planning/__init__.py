"""What this machine can do, and how large a network to train with it: `jielong plan`."""

from jielong.training.planning.compute_plan import Budget, ComputePlan, parse_count, plan_compute
from jielong.training.planning.law_fit import LawFit, Run, fit_law
from jielong.training.planning.machine import MachineLimits, measure_limits
from jielong.training.planning.memory import PROCESS_BYTES, TrainingMemory, training_memory
from jielong.training.planning.scaling_law import CHINCHILLA, REPLICATION, ScalingLaw, best_law, parse_law
from jielong.training.planning.speed import (
    COMPILE_GAIN,
    COMPILE_SECONDS,
    TrainingSpeed,
    measure_training_speed,
)

__all__ = [
    "CHINCHILLA",
    "COMPILE_GAIN",
    "COMPILE_SECONDS",
    "PROCESS_BYTES",
    "REPLICATION",
    "Budget",
    "ComputePlan",
    "LawFit",
    "MachineLimits",
    "Run",
    "ScalingLaw",
    "TrainingMemory",
    "TrainingSpeed",
    "best_law",
    "fit_law",
    "measure_limits",
    "measure_training_speed",
    "parse_count",
    "parse_law",
    "plan_compute",
    "training_memory",
]
