"""Is a written answer right? Text in one spelling, checks, and the likeness of two wordings."""

from jielong.marking.checks import Check, Verdict, check_answer, final_number, find_any
from jielong.marking.chrf import chrf
from jielong.marking.normalise import CJK, normalise

__all__ = ["CJK", "Check", "Verdict", "check_answer", "chrf", "final_number", "find_any", "normalise"]
