"""Sixteen sampled answers to one prompt of 512 tokens: our engine computes it once; transformers' `generate`.

Both sample at temperature 1. transformers gets the prompt with `num_return_sequences`' effect: 16 equal rows.

Run: python -m benchmarks.prefix_sharing [--shape 125m] [--samples 16] [--prompt-tokens 512]
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
    parser.add_argument("--samples", type=int, default=16)
    parser.set_defaults(prompt_tokens=512, temperature=1.0, new_tokens=32)
    options = parser.parse_args()
    prompts = random_prompts(1, options) * options.samples
    run_benchmark("prefix_sharing", options.samples, options, prompts, {"quickstart": 5.0, "125m": 5.0})


if __name__ == "__main__":
    main()
