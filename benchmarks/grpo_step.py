"""A step of GRPO: 2 prompts x 8 answers of 64 tokens, one update; ours against TRL's GRPOTrainer.

CPU time on one thread. Run: python -m benchmarks.grpo_step [--rounds 7] [--steps 5]
Needs transformers and trl (requirements/dev.txt).
"""

from benchmarks.feedback_steps import run_benchmark


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    run_benchmark("grpo_step", "grpo", __doc__)


if __name__ == "__main__":
    main()
