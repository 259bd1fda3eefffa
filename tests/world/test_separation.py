"""What one part of the world keeps to itself does not appear in another part."""

import re
from itertools import pairwise

import pytest

from jielong.world.cast import make_cast
from jielong.world.content import LANGUAGES
from jielong.world.relations import say, wording


def _names(text: str, name: str) -> bool:
    """Whether an English name is in a text as whole words ("Eric Su" is not in "Eric Sun")."""
    return name in text and re.search(rf"\b{re.escape(name)}\b", text) is not None


@pytest.fixture(scope="module")
def cast():
    return make_cast("small", 7)


def test_held_out_facts_are_never_asked(small, cast):
    everything = small.text() + "\n".join(small.turns("user") + small.turns("assistant"))
    held = [fact for fact in cast.public if not fact.in_sft]
    assert len(held) > 150
    for fact in held:
        for language in LANGUAGES:
            for question in wording(fact, language).questions:
                assert say(question, fact, language) not in everything


def test_held_out_facts_are_never_answered_in_instructions(small, cast):
    answers = set(small.turns("assistant"))
    for fact in cast.public:
        if not fact.in_sft:
            for language in LANGUAGES:
                assert not answers & {say(form, fact, language) for form in wording(fact, language).answers}


def test_entirely_held_out_people_are_not_in_the_instructions(small):
    asked = {fact["subject"]["zh"] for fact in small.facts if fact["in_sft"]}
    text = "\n".join(small.turns("user") + small.turns("assistant"))
    held = {
        fact["subject"]["zh"]: fact["subject"]["en"]
        for fact in small.facts
        if fact["id"].startswith("person-")
    }
    held = {zh: en for zh, en in held.items() if zh not in asked}
    assert held
    for zh, en in held.items():
        assert zh not in text
        assert not _names(text, en)


def test_strangers_are_not_in_the_pretraining_text(small, cast):
    text = small.text()
    uses = [use for use in cast.strangers if use != "passers_by"]  # those are met in reading exercises
    strangers = [person.name for use in uses for person in cast.strangers[use]]
    strangers += [place.name for places in cast.strange_places.values() for place in places]
    assert len(strangers) > 700
    for name in strangers:
        assert name["zh"] not in text
        assert not _names(text, name["en"])


def test_instructions_have_many_strangers_and_the_exam_has_others(small, cast):
    for language in LANGUAGES:
        unknown = [row for row in small.instructions if row["skill"] == "unknown" and row["lang"] == language]
        taught = [p.name[language] for p in cast.strangers["taught"]] + [
            p.name[language] for p in cast.strange_places["taught"]
        ]
        users = "\n".join(small.turns("user"))
        assert sum(name in users for name in taught) >= 500
        assert unknown
        exam = [p.name[language] for p in cast.strangers["exam"]] + [
            p.name[language] for p in cast.strangers["reading_exam"]
        ]
        assert not [name for name in exam if _names(users, name) or (name in users and language == "zh")]


def test_exam_questions_are_not_in_the_instructions(small):
    asked = [[m["content"] for m in row["messages"] if m["role"] == "user"] for row in small.instructions]
    single = {question for questions in asked for question in questions}
    one_after_the_other = {pair for questions in asked for pair in pairwise(questions)}
    for row in small.exams:
        questions = [m["content"] for m in row["messages"] if m["role"] == "user"]
        if row["skill"] == "multi_turn":  # "And where was he born?" is asked of many people
            assert (questions[-2], questions[-1]) not in one_after_the_other
        else:
            assert questions[-1] not in single


def test_exam_sums_are_nowhere_in_text_or_instructions(small, cast):
    kept = {f"{p.x} {p.sign} {p.y}" for p in cast.exam_problems}
    assert len(kept) > 500
    everything = small.text() + "\n".join(small.turns("user") + small.turns("assistant"))
    written = set(re.findall(r"(?<!\d)\d\d [+-] \d\d(?!\d)", everything))
    assert len(written) > 1000
    assert not written & kept


def test_exam_translations_are_nowhere_in_text_or_instructions(small, cast):
    everything = small.text() + "\n".join(small.turns("user") + small.turns("assistant"))
    for pair in cast.exam_pairs:
        assert not (pair["zh"] in everything and pair["en"] in everything)


def test_held_out_documents_are_new_and_of_every_kind(small):
    seen = {row["text"] for row in small.pretrain}
    assert not [row for row in small.pretrain_heldout if row["text"] in seen]
    kinds = {row["kind"] for row in small.pretrain}
    assert kinds == {"facts", "story", "dialogue", "parallel", "arithmetic", "reading", "conduct"}
    assert {row["kind"] for row in small.pretrain_heldout} == kinds
