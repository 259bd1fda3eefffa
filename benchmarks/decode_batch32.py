"""Tokens a second of 32 answers at once: our engine against transformers' `generate` at its best.

Run: python -m benchmarks.decode_batch32 [--shape 125m] [--threads 1] [--temperature 1] [--rows 16]
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
    parser.add_argument("--rows", type=int, default=32)
    options = parser.parse_args()
    prompts = random_prompts(options.rows, options)
    run_benchmark("decode_batch32", options.rows, options, prompts, {"quickstart": 4.0, "125m": 1.5})


if __name__ == "__main__":
    main()
