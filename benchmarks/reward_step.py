"""A step of A reward model's step on 8 pairs; ours against TRL's RewardTrainer.

CPU time on one thread. Run: python -m benchmarks.reward_step [--rounds 7] [--steps 5]
Needs transformers and trl (requirements/dev.txt).
"""

from benchmarks.feedback_steps import run_benchmark


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    run_benchmark("reward_step", "reward", __doc__)


if __name__ == "__main__":
    main()
