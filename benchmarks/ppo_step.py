"""A step of PPO: 16 prompts answered with 64 tokens, one update; ours against TRL 1.12.0's PPOTrainer.

Policy, reference, critic and reward model are networks of one size. TRL 1.12.0, the last that has PPO, is
installed into the folder --cache where it is not there yet.
CPU time on one thread. Run: python -m benchmarks.ppo_step [--rounds 7] [--steps 5]
Needs transformers and trl (requirements/dev.txt).
"""

from benchmarks.feedback_steps import run_benchmark


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    run_benchmark("ppo_step", "ppo", __doc__)


if __name__ == "__main__":
    main()
