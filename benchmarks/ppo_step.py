"""A step of PPO, with policy, reference, critic and reward model: ours against TRL 1.12.0's PPOTrainer.

16 prompts are answered with 64 tokens each.

CPU time on one thread. Run: python -m benchmarks.ppo_step [--rounds 7] [--steps 5]
Needs transformers and trl (requirements/dev.txt).
"""

from benchmarks.feedback_steps import run_benchmark


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    run_benchmark("ppo_step", "ppo", __doc__)


if __name__ == "__main__":
    main()
