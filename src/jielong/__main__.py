"""`python -m jielong` is the same as `jielong`."""

from jielong.cli import main

main()
