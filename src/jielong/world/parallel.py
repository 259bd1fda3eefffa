"""Sentence pairs in Chinese and English from one grammar."""

from random import Random

from jielong.world.content import load
from jielong.world.facts import Pair, pair
from jielong.world.sentences import sentence


def make_pair(random: Random) -> Pair:
    """One sentence in both languages."""
    grammar = load("parallel")
    zh, en = random.choice(grammar["patterns"])
    values_zh, values_en = {}, {}
    for slot, entries in grammar["slots"].items():
        values_zh[slot], values_en[slot] = random.choice(entries)
    return pair(sentence(zh, values_zh, "zh"), sentence(en, values_en, "en"))
