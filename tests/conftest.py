"""What holds for every test."""

from hypothesis import settings

# A busy machine must not fail a test.
settings.register_profile("jielong", deadline=None)
settings.load_profile("jielong")
