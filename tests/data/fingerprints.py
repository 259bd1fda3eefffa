"""The fingerprint of a few items."""

from jielong.data import Fingerprint


def fingerprint_of(items):
    fingerprint = Fingerprint()
    for item in items:
        fingerprint.add(item)
    return fingerprint.hexdigest()
