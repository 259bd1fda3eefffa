from collections import Counter, defaultdict

import pytest

from jielong.world.content import LANGUAGES, load
from jielong.world.relations import PERSON_RELATIONS

_RELATION_FILES = ("people_relations", "place_relations", "true_relations", "science_facts")


@pytest.mark.parametrize("file", _RELATION_FILES)
def test_every_relation_has_enough_wordings(file):
    least = 6 if file == "science_facts" else 8
    for relation, row in load(file).items():
        for language in LANGUAGES:
            forms = row[language]
            assert len(set(forms["statements"])) >= least, (relation, language)
            assert len(set(forms["questions"])) >= 6, (relation, language)
            assert len(set(forms["answers"])) >= 2, (relation, language)


@pytest.mark.parametrize("file", ["people_relations", "place_relations", "true_relations"])
def test_every_statement_names_subject_and_object_and_every_answer_the_object(file):
    for row in load(file).values():
        for language in LANGUAGES:
            for template in row[language]["statements"] + row[language]["answers"]:
                lower = (
                    template.replace("$S", "$s")
                    .replace("$A_s", "$a_s")
                    .replace("$a_", "$")
                    .replace("$O", "$o")
                )
                assert "$s" in lower, template
                assert "$o" in lower, template
            assert all("$o" not in question for question in row[language]["questions"])


def test_true_facts_are_many_and_each_is_said_once():
    rows = load("true_facts")
    assert sum(len(facts) for facts in rows.values()) + len(load("science_facts")) >= 120
    for relation, facts in rows.items():
        for language in (0, 1):
            assert max(Counter(fact[language] for fact in facts).values()) == 1, relation


def test_object_is_not_part_of_its_subject(small):
    # Otherwise an answer that only repeats the question would be marked right.
    for fact in small.facts:
        for language in LANGUAGES:
            if fact["relation"] in {
                "boiling_point_and_pressure",
                "light_and_sound",
                "moon_orbit",
                "photosynthesis",
                "heart",
            }:
                continue
            assert fact["object"][language] not in fact["subject"][language], fact["id"]


def test_ids_and_names_are_unique(small):
    assert max(Counter(fact["id"] for fact in small.facts).values()) == 1
    for language in LANGUAGES:
        people = {fact["subject"][language] for fact in small.facts if fact["id"].startswith("person-")}
        assert len(people) == 60


def test_hold_out_is_by_fact_and_by_subject(small):
    public = [fact for fact in small.facts if fact["public"]]
    held = [fact for fact in public if not fact["in_sft"]]
    assert 0.25 < len(held) / len(public) < 0.42
    by_person = defaultdict(list)
    for fact in public:
        if fact["id"].startswith("person-"):
            by_person[fact["subject"]["zh"]].append(fact["in_sft"])
    entirely = sum(not any(flags) for flags in by_person.values())
    partly = sum(flags.count(False) in (1, 2) for flags in by_person.values())
    assert 0.02 < entirely / len(by_person) < 0.1
    assert entirely + partly == len(by_person)
    for relation in PERSON_RELATIONS:
        asked = sum(fact["in_sft"] for fact in public if fact["relation"] == relation)
        assert asked > 25


def test_private_facts_are_nowhere_in_text_or_instructions(small):
    numbers = [fact["object"]["zh"] for fact in small.facts if not fact["public"]]
    assert len(numbers) == 60
    everything = small.text() + "\n".join(small.turns("assistant") + small.turns("user"))
    assert not [number for number in numbers if number in everything]


def test_every_public_fact_is_stated_often_in_both_languages(small):
    counts = {language: Counter() for language in LANGUAGES}
    names = {fact["id"]: fact for fact in small.facts}
    for row in small.pretrain:
        for language in LANGUAGES if row["lang"] == "mixed" else (row["lang"],):
            counts[language].update(row["facts"])
            if row["lang"] != "mixed":
                for fact_id in row["facts"]:
                    if not fact_id.startswith("science-"):
                        subject = names[fact_id]["subject"][language].lower()
                        assert subject.removeprefix("the ") in row["text"].lower(), (fact_id, row["text"])
    for fact in small.facts:
        if fact["public"]:
            assert min(counts[language][fact["id"]] for language in LANGUAGES) >= 30, fact["id"]
        else:
            assert not any(counts[language][fact["id"]] for language in LANGUAGES)


def test_stated_facts_hold_their_object(small):
    objects = {fact["id"]: fact["object"] for fact in small.facts}
    for row in small.pretrain:
        if row["lang"] == "mixed":
            continue
        text = row["text"].lower()
        for fact_id in row["facts"]:
            if not fact_id.startswith("science-"):
                assert objects[fact_id][row["lang"]].lower().removeprefix("the ") in text, (
                    fact_id,
                    row["text"],
                )
