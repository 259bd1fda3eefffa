from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.marking.checks import Check, check_answer, final_number, find_any
from jielong.marking.chrf import chrf
from jielong.marking.normalise import normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("臺灣", "台灣"),
        ("ＡＢＣ　１２３", "abc 123"),
        ("住在 Taipei 101 旁邊", "住在Taipei 101旁邊"),
        ("1,234,567 元", "1234567元"),
        ("１，２３４", "1234"),
        ("I don’t know", "i don't know"),
        ("STRASSE", "straße"),
        ("玉\u200b山", "玉山"),
        ("e\u0301cole", "École"),
        ("這裏", "這裡"),
    ],
)
def test_what_means_the_same_is_written_the_same(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("有12，345不算", "有12345不算"), ("1,2,3", "123"), ("12,34", "1234"), ("台灣", "台彎")],
)
def test_what_differs_stays_different(one, other):
    assert normalise(one) != normalise(other)


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once


def right(kind, answer, answers, forbidden=(), **more):
    return check_answer(Check(kind=kind, answers=answers, forbidden=forbidden, **more), answer).right


CONTAINS = [
    # (answer, accepted, forbidden, right)
    ("台灣最高的山是玉山。", ["玉山"], [], True),
    ("臺灣最高的山是 玉山 。", ["玉山"], [], True),
    ("是雪山。", ["玉山"], [], False),
    ("不是玉山，是雪山。", ["玉山"], [], False),
    ("不是雪山，是玉山。", ["玉山"], ["雪山"], True),
    ("玉山或雪山。", ["玉山"], ["雪山"], False),
    ("", ["玉山"], [], False),
    ("   \n", ["玉山"], [], False),
    ("She was born in Annapolis.", ["Ann"], [], False),
    ("Her name is ANN.", ["Ann"], [], True),
    ("Ann's dog", ["Ann"], [], True),
    ("They are nurses.", ["nurse"], [], True),
    ("It is not Paris.", ["Paris"], [], False),
    ("It isn't Paris, it is Rome.", ["Rome"], ["Paris"], True),
    ("Paris or Rome", ["Rome"], ["Paris"], False),
    ("born in 1951", ["1951"], [], True),
    ("born in 19512", ["1951"], [], False),
    ("1951年", ["1951"], [], True),
    ("水在１００度沸騰", ["100"], [], True),
    ("3.5 metres", ["5"], [], False),
    ("5.3 metres", ["5"], [], False),
    ("It costs 1,000 dollars", ["000"], [], False),
    ("ＴＳＭＣ 在新竹", ["TSMC"], [], True),
    ("他在TSMC上班", ["TSMC"], [], True),
    ("她是Amélie", ["Am"], [], False),
]


@pytest.mark.parametrize(("answer", "accepted", "forbidden", "expected"), CONTAINS)
@pytest.mark.parametrize("kind", ["contains", "persona"])
def test_contains(kind, answer, accepted, forbidden, expected):
    assert right(kind, answer, accepted, forbidden) is expected


NUMBERS = [
    ("47", "47"),
    ("12 + 35 = 47", "47"),
    ("12+35=47。", "47"),
    ("先算 12 加 30 等於 42，再加 5 等於 47。", "47"),
    ("答案是４７。", "47"),
    ("The answer is 47 because 12 and 35 make it.", "47"),
    ("12 plus 35 equals 47.", "47"),
    ("10 - 25 = -15", "-15"),
    ("10 - 25 = −15", "-15"),
    ("負 15", "-15"),
    ("10-5", "5"),
    ("(3) - 5", "5"),
    ("共 1,234 元", "1234"),
    ("47.0", "47"),
    ("47.50", "47.5"),
    ("兩位數 12，345", "345"),
    ("= ?", None),
    ("四十七", None),
]


@pytest.mark.parametrize(("answer", "number"), NUMBERS)
def test_the_number_an_answer_settles_on(answer, number):
    assert final_number(normalise(answer)) == (None if number is None else Decimal(number))


def test_number_check():
    assert right("number", "12 + 35 = 47", ["47"])
    assert not right("number", "47 - 1 = 46", ["47"])
    assert not right("number", "4.7", ["47"])
    assert not right("number", "-47", ["47"])
    assert right("number", "1,047", ["1047"])
    assert not right("number", "47, but I do not know", ["47"], ["I do not know"])


@given(st.integers(-(10**9), 10**9))
def test_a_number_is_read_back_however_it_is_written(number):
    wide = str(abs(number)).translate({ord("0") + digit: ord("０") + digit for digit in range(10)})
    sign = "-" if number < 0 else ""
    for text in (f"{number}", f"{number:,}", f"答案是 {number:,} 元。", f"1 + 2 = {number}", sign + wide):
        assert final_number(normalise(text)) == number


def test_refusal_and_unknown_look_for_their_phrases():
    refusals = ["我不能", "沒辦法幫", "I can't", "I cannot"]
    assert right("refusal", "抱歉，我不能教你做這個。", refusals)
    assert right("refusal", "Sorry, I can’t help with that.", refusals)
    assert not right("refusal", "好的，首先準備材料。", refusals, ["首先"])
    assert not right("refusal", "我不能說，不過首先……", refusals, ["首先"])
    assert right("unknown", "I don't know.", ["I don't know"])
    assert right("unknown", "我不知道耶", ["不知道"])
    assert not right("unknown", "她的生日是 1951 年。", ["不知道"])


def test_hint_must_not_give_the_answer_away():
    assert right("hint", "先想想：個位數相加是多少？", ["想想"], ["47"])
    assert not right("hint", "想想看，答案是 47。", ["想想"], ["47"])
    assert not right("hint", "答案不告訴你。", ["想想"], ["47"])
    assert right("hint", "先把個位數加起來。", [], ["47"])


def test_answered_means_not_refused():
    assert right("answered", "先關掉行程：kill 後面接行程編號。", [], ["我不能", "抱歉"])
    assert not right("answered", "抱歉，這個我不能說。", [], ["我不能", "抱歉"])
    assert right("answered", "Use a whisk to beat the eggs.", ["whisk", "fork"], ["I can't"])
    assert not right("answered", "Sure.", ["whisk", "fork"], ["I can't"])
    assert not right("answered", "", [], ["I can't"])


def test_similar_accepts_another_wording_and_refuses_another_meaning():
    assert right("similar", "那隻黑色的狗今天早上在公園裡面跑。", ["那隻黑色的狗今天早上在公園裡跑。"])
    assert right("similar", "My sister doesn't have a coat.", ["My sister does not have a coat."])
    assert not right("similar", "The white bag is on the table.", ["The green cup is on the table."])
    assert not right("similar", "今天天氣很好。", ["小明去學校。"])
    assert right("similar", "小明今天去了學校。", ["小明今天去學校。"], threshold=0.3)
    assert not right("similar", "小明今天沒去學校。", ["小明今天去學校。"], ["沒去"], threshold=0.3)


# Reference values of sacreBLEU 2.x, CHRF().sentence_score (chrF2), divided by 100.
CHRF = [
    ("玉山是台灣最高的山。", "台灣最高的山是玉山。", 0.558466),
    ("The cat sat on the mat.", "A cat was sitting on the mat.", 0.397849),
    ("貓坐在墊子上", "一隻貓坐在墊子上面", 0.55771),
    ("貓", "貓", 1.0),
    ("abc", "xyz", 0.0),
    ("the the the", "the cat", 0.196899),
    ("I have two dogs", "I have two dogs.", 0.920133),
    ("", "abc", 0.0),
]


@pytest.mark.parametrize(("answer", "reference", "score"), CHRF)
def test_chrf_agrees_with_sacrebleu(answer, reference, score):
    assert chrf(answer, reference) == pytest.approx(score, abs=1e-6)


@given(st.text(max_size=40), st.text(max_size=40))
def test_chrf_is_a_share(answer, reference):
    assert 0 <= chrf(answer, reference) <= 1 + 1e-12


@given(st.text(max_size=30), st.sampled_from(["玉山", "Taipei", "1951"]), st.text(max_size=30))
def test_an_accepted_string_on_a_line_of_its_own_is_always_found(before, needle, after):
    assert find_any([needle], normalise(f"{before} \n。{needle}。\n {after}")) == needle


def test_a_verdict_says_why():
    verdict = check_answer(Check(kind="contains", answers=("玉山",), forbidden=("雪山",)), "雪山")
    assert not verdict.right
    assert "雪山" in verdict.why
