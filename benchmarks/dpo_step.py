"""A step of DPO: 8 pairs, with the reference's pass; ours against TRL's DPOTrainer.

CPU time on one thread. Run: python -m benchmarks.dpo_step [--rounds 7] [--steps 5]
Needs transformers and trl (requirements/dev.txt).
"""

from benchmarks.feedback_steps import run_benchmark


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    run_benchmark("dpo_step", "dpo", __doc__)


if __name__ == "__main__":
    main()
