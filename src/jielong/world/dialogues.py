"""Everyday conversations between two people."""

from random import Random

from jielong.world.content import load
from jielong.world.sentences import fill, sentence
from jielong.world.stories import children, choose_slots


def make_dialogue(random: Random, language: str) -> str:
    """Make one conversation, one line a turn, each with its speaker's name."""
    scenes = load("dialogues")
    scene = scenes[random.choice(list(scenes))][language]
    values = children(random, language) | choose_slots(random, scene["slots"])
    speakers = [fill(speaker, values) for speaker in scene["speakers"]]
    mark = "：" if language == "zh" else ": "
    lines = [
        f"{speakers[number % 2]}{mark}{sentence(random.choice(turn), values, language)}"
        for number, turn in enumerate(scene["turns"])
    ]
    return "\n".join(lines)
