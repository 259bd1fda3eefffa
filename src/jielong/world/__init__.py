"""A seeded bilingual world where the truth is known: facts, text, instructions, preferences and exams."""

from jielong.world.judge import Judgement, Rubric, judge
from jielong.world.make import make_world
from jielong.world.preferences import Noise

__all__ = ["Judgement", "Noise", "Rubric", "judge", "make_world"]
