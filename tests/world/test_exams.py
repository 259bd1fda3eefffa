from collections import Counter
from itertools import islice
from random import Random

import pytest

from jielong.world.arithmetic import Problem, split_problems, values, worked
from jielong.world.cast import make_cast
from jielong.world.conduct_items import benign_phrasings, refusal_items
from jielong.world.content import LANGUAGES, load
from jielong.world.exams import exam_items
from jielong.world.instructions import taught_conduct, taught_knowledge, taught_tasks
from jielong.world.knowledge_items import accepted, follow_up_items
from jielong.world.markers import HINT_MARKERS, PERSONA_MARKERS, REFUSAL_MARKERS, UNKNOWN_MARKERS
from jielong.world.sentences import random_for

_MARKED = {
    "refusal": REFUSAL_MARKERS,
    "unknown": UNKNOWN_MARKERS,
    "hint": HINT_MARKERS,
    "persona": PERSONA_MARKERS,
}


def satisfies(answer, rule):
    """Whether an answer holds one of the accepted strings and none of the forbidden ones."""
    if any(text in answer for text in rule["forbidden"]):
        return False
    return not rule["answers"] or any(text in answer for text in rule["answers"])


@pytest.fixture(scope="module")
def cast():
    return make_cast("small", 7)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_satisfies_its_own_check(cast, language):
    items = [
        *taught_knowledge(cast, language),
        *taught_conduct(cast, language),
        *taught_tasks(cast, language),
    ]
    for item in items + exam_items(cast, language):
        assert satisfies(item.answer, item.check), item


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_marker_is_in_its_own_answers_and_in_no_others(cast, language):
    items = [
        *taught_knowledge(cast, language),
        *taught_conduct(cast, language),
        *taught_tasks(cast, language),
    ]
    for item in items + [item for item in exam_items(cast, language) if item.skill != "multi_turn"]:
        for skill, markers in _MARKED.items():
            assert any(marker in item.answer for marker in markers[language]) == (skill == item.skill), item


@pytest.mark.parametrize("language", LANGUAGES)
def test_wrong_choices_fail_the_check_of_the_right_answer(cast, language):
    for item in exam_items(cast, language):
        if item.options and item.skill != "arithmetic":
            assert satisfies(item.options[0], item.check)
            assert not any(satisfies(option, item.check) for option in item.options[1:]), item


def test_exam_has_its_parts(small):
    plain = Counter((row["skill"], row["lang"]) for row in small.exams if row["form"] == "plain")
    choice = Counter((row["skill"], row["lang"]) for row in small.exams if row["form"] == "choice")
    wanted = {
        "facts_taught": 60,
        "facts_heldout": 90,
        "unknown": 60,
        "persona": 20,
        "refusal": 30,
        "benign": 20,
    }
    wanted |= {
        "hint": 20,
        "arithmetic": 40,
        "translation": 30,
        "summary": 15,
        "reading": 40,
        "multi_turn": 40,
    }
    for language in LANGUAGES:
        for skill, count in wanted.items():
            assert plain[skill, language] >= count * 0.95, (skill, language)
        for skill in ("facts_taught", "facts_heldout", "arithmetic", "reading"):
            assert choice[skill, language] >= 20


def test_choices_are_four_different_ones_with_balanced_places(small):
    rows = [row for row in small.exams if row["form"] == "choice"]
    assert all(len(set(row["choices"])) == 4 and 0 <= row["answer"] < 4 for row in rows)
    places = Counter(row["answer"] for row in rows)
    assert max(places.values()) - min(places.values()) <= 2


def test_fact_questions_name_their_fact_and_its_hold_out(small):
    facts = {fact["id"]: fact for fact in small.facts}
    for row in small.exams:
        if row["skill"].startswith("facts_"):
            assert facts[row["fact"]]["in_sft"] == (row["skill"] == "facts_taught")


def test_conversations_alternate_and_end_with_the_assistant(small):
    for row in small.instructions:
        roles = [message["role"] for message in row["messages"]]
        roles = roles[1:] if roles[0] == "system" else roles
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert roles


def test_instructions_hold_every_skill_systems_and_several_turns(small):
    skills = Counter(row["skill"] for row in small.instructions)
    answers = [(m["content"], row["lang"]) for row in small.instructions for m in row["messages"][1:]]
    unknown = sum(any(mark in text for mark in UNKNOWN_MARKERS[lang]) for text, lang in answers)
    assert 0.12 < unknown / len(small.turns("assistant")) < 0.25
    for skill in (
        "facts_taught",
        "persona",
        "refusal",
        "benign",
        "hint",
        "arithmetic",
        "translation",
        "summary",
        "reading",
    ):
        assert skills[skill] > 60, skill
    assert sum(row["messages"][0]["role"] == "system" for row in small.instructions) > 500
    several = sum(sum(m["role"] == "user" for m in row["messages"]) > 1 for row in small.instructions)
    assert several > 0.45 * len(small.instructions)


def test_last_questions_of_conversations_follow_others(small):
    rows = [row for row in small.exams if row["skill"] == "multi_turn"]
    kinds = {language: Counter() for language in LANGUAGES}
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles in (["user", "assistant"] * turns + ["user"] for turns in (1, 2))
        asked = [message["content"] for message in row["messages"] if message["role"] == "user"]
        assert len(set(asked)) == len(asked)
        assert row["form"] == "plain"
        kinds[row["lang"]][row["check"]["kind"]] += 1
    for language in LANGUAGES:
        assert kinds[language]["contains"] >= 20
        assert min(kinds[language][kind] for kind in ("refusal", "persona", "unknown")) >= 5


@pytest.mark.parametrize("language", LANGUAGES)
def test_follow_ups_ask_held_out_facts_of_the_person_named_before(cast, language):
    held = [fact for fact in cast.public if not fact.in_sft]
    names = {person.name[language]: person for person in cast.people}
    items = list(islice(follow_up_items(Random(0), cast.people, cast.public, held, language), 50))
    assert len(items) == 50
    for item in items:
        ((question, answer),) = item.before
        (person,) = [p for name, p in names.items() if name in question and name in answer]
        assert not [name for name in names if name in item.question]
        mine = [fact for fact in held if fact.subject == person.name]
        assert any(set(accepted(fact, language)) == set(item.check["answers"]) for fact in mine)


def test_nobody_with_two_facts_gives_no_follow_up(cast):
    one = [fact for fact in cast.public if fact.subject == cast.people[0].name][:1]
    assert not list(follow_up_items(Random(0), cast.people, one, one, "en"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_harmful_and_harmless_things_are_asked_for_in_the_same_words(language):
    act = load("safety")["harmful"]["stealing"][language][0]
    harmful = {
        item.question.replace(act, "…")
        for item in refusal_items(Random(0), language, exam=False)
        if act in item.question
    }
    way = {"zh": "種番茄", "en": "grow tomatoes"}[language]
    benign = benign_phrasings(language, exam=False)
    assert harmful <= {item.question.replace(way, "…") for item in benign if way in item.question}


@pytest.mark.parametrize("language", LANGUAGES)
def test_acts_of_the_exam_are_read_about_but_never_asked_for(small, language):
    asked = "\n".join(small.turns("user"))
    for acts in load("safety")["harmful"].values():
        assert acts[language][-1] in small.text()
        assert acts[language][-1] not in asked


def test_problems_split_in_two_and_stay_together_with_their_mirror():
    seen, kept = split_problems(random_for(1, "x"))
    assert not set(seen) & set(kept)
    assert 0.08 < len(kept) / (len(seen) + len(kept)) < 0.12
    assert all(Problem(p.y, "+", p.x) in set(kept) for p in kept[:200] if p.sign == "+")


def test_written_method_is_right_for_every_problem():
    seen, kept = split_problems(random_for(1, "x"))
    for problem in seen + kept:
        text = worked(problem, "en")
        assert text.endswith(f"So {problem.x} {problem.sign} {problem.y} = {problem.result}.")
        slots = values(problem)
        assert int(slots["t"]) * 10 + int(slots["o"]) % 10 == problem.result
