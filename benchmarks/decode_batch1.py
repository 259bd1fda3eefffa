"""Tokens a second of one answer: our engine against transformers' `generate` at its best.

Run: python -m benchmarks.decode_batch1 [--shape 125m] [--threads 1] [--temperature 1] [--rows 8]
Needs transformers (requirements/dev.txt).
"""

import argparse

from benchmarks.decoding import add_options, random_prompts, run_benchmark


def main() -> None:
    """Measure and print a table; the last line is one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--rows", type=int, default=1)
    options = parser.parse_args()
    prompts = random_prompts(options.rows, options)
    run_benchmark("decode_batch1", options.rows, options, prompts, {"quickstart": 4.0, "125m": 2.0})


if __name__ == "__main__":
    main()
