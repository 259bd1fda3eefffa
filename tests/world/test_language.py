"""The text reads as its language is written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.core.errors import JielongError
from jielong.world.sentences import fill, space, with_article

_SIMPLIFIED = (
    "们这说时对没过还学书发见话问题门东车长开关点样应该经电现处实产业觉让变边远进运动钱岁谁给"
    "红绿蓝黄龙鸟鱼马风飞云师医药饭馆汤条国会来爱乐请买卖贝阳园图声"
)
_MAINLAND = [
    "視頻",
    "默認",
    "信息",
    "質量",
    "軟件",
    "硬件",
    "網絡",
    "鼠標",
    "打印",
    "程序員",
    "出租車",
    "土豆",
    "西紅柿",
    "公交",
    "酸奶",
    "自行車",
    "地鐵",
]


@pytest.fixture(scope="module")
def every_text(small):
    texts = [(row["lang"], row["text"]) for row in small.pretrain + small.pretrain_heldout]
    texts += [(row["lang"], message["content"]) for row in small.instructions for message in row["messages"]]
    texts += [(row["lang"], message["content"]) for row in small.exams for message in row["messages"]]
    texts += [
        (row["lang"], choice) for row in small.exams if row["form"] == "choice" for choice in row["choices"]
    ]
    return texts


@pytest.fixture(scope="module")
def joined(every_text):
    return "\n".join(text for _, text in every_text)


def test_no_slot_is_left_unfilled(joined):
    assert not re.findall(r"[{}]|\$\w*", joined)


def test_no_doubled_punctuation_spaces_or_particles(joined):
    found = re.findall(r".{8}(?:  |。。|，，|，。|。，|？。|。？|！。|的的|了了| ,| \.|\.\.).{0,8}", joined)
    assert not found, found[:5]


def test_no_text_is_empty_or_has_loose_ends(every_text):
    assert all(text.strip() == text and text for _, text in every_text)


def test_english_articles_agree(joined):
    words = re.findall(r"\b(a|an) ([A-Za-z]+)", joined, re.IGNORECASE)
    assert len(words) > 10_000
    wrong = {(a, noun) for a, noun in words if with_article(noun).split()[0] != a.lower()}
    assert not wrong, sorted(wrong)[:10]


def test_no_simplified_characters_or_mainland_terms(joined):
    assert not [character for character in _SIMPLIFIED if character in joined]
    assert not [term for term in _MAINLAND if term in joined]


def test_chinese_uses_full_width_punctuation_and_spaces_before_latin(every_text):
    chinese = "\n".join(text for language, text in every_text if language == "zh")
    assert not re.findall(r"[\u4e00-\u9fff][,?!;:]", chinese)
    assert not re.findall(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]", chinese)


def test_english_sentences_begin_with_a_capital(small):
    for row in small.pretrain:
        if row["lang"] == "en":
            assert not re.match(r"[a-z]", row["text"]), row["text"]
            assert not re.search(r"[.!?] [a-z]", row["text"]), row["text"]


def test_slots_take_articles_and_capitals():
    assert fill("$Who is $a_job.", {"who": "the girl", "job": "engineer"}) == "The girl is an engineer."
    assert with_article("hour") == "an hour"
    assert with_article("university") == "a university"


def test_an_unknown_slot_names_the_template():
    with pytest.raises(JielongError, match=r"\$x is \$y.*\$y"):
        fill("$x is $y", {"x": "1"})


@given(st.text(alphabet="中文字abc09 。，", max_size=40))
def test_spacing_is_stable_and_only_adds_spaces(text):
    once = space(text)
    assert space(once) == once
    assert once.replace(" ", "") == text.replace(" ", "")
