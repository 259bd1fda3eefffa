"""A seeded bilingual world where the truth is known: facts, text, instructions and exams."""

from jielong.world.make import make_world

__all__ = ["make_world"]
