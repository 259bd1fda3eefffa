"""Losses, advantages and divergences, each one pure function beside its paper.

Masks are boolean, True = counts; what stands elsewhere, even NaN, changes nothing. A loss is a sum divided by
`normalizer`, so that k micro-batches with the normaliser of the whole step give the gradient of one batch.
Statistics are sums with their counts (see `masked`), which add up over micro-batches and processes.
"""
