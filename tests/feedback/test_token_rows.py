from itertools import takewhile

import pytest

from jielong.core.errors import JielongError
from jielong.data import Problems
from jielong.feedback.records import Pair, Steps, Thumb
from jielong.feedback.token_rows import encode_completion, encode_pairs, encode_steps, encode_thumbs
from jielong.tokenizer import read_chat_template, train_tokenizer

TEXT = ["台灣最高的山是玉山。高雄舊稱打狗。先算個位，再算十位。", "Water boils at 100 degrees. 12 + 34 = 46."]
ASKED = [{"role": "user", "content": "最高的山？"}]
LONGER = [*ASKED, {"role": "assistant", "content": "玉山。"}, {"role": "user", "content": "Why?"}]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter(TEXT * 4), 330)


def said(text):
    return [{"role": "assistant", "content": text}]


def counted_text(tokenizer, row):
    ids = [token for token, counted in zip(row.ids, row.counted, strict=True) if counted]
    return tokenizer.decode(ids, skip_special=False)


@pytest.mark.parametrize("prompt", [ASKED, LONGER, [{"role": "system", "content": "小金"}, *LONGER]])
@pytest.mark.parametrize("template", ["chat", "plain_chat"])
def test_only_the_completion_counts_and_the_rest_is_what_the_server_would_send(tokenizer, prompt, template):
    tokenizer = tokenizer.with_chat_template(read_chat_template(template))
    row = encode_completion(tokenizer, prompt, said("玉山。"))
    assert counted_text(tokenizer, row) == "玉山。<|im_end|>"
    before = list(takewhile(lambda counted: not counted, row.counted))
    assert row.ids[: len(before)] == tokenizer.encode_chat(prompt, add_generation_prompt=True)


def test_both_sides_of_a_pair_begin_with_the_prompt(tokenizer):
    pair = Pair("p", LONGER, said("玉山。"), said("Water!"), margin=0.5)
    (found,) = encode_pairs(tokenizer, [pair], 200, Problems())
    prompt = tokenizer.encode_chat(LONGER, add_generation_prompt=True)
    for row, text in ((found.chosen, "玉山。"), (found.rejected, "Water!")):
        assert row.ids[: len(prompt)] == prompt
        assert counted_text(tokenizer, row) == f"{text}<|im_end|>"
    assert found.margin == 0.5


def test_what_is_too_long_is_counted_and_not_cut(tokenizer):
    problems = Problems()
    pairs = [Pair("long", ASKED, said("山"), said("山" * 99)), Pair("short", ASKED, said("山"), said("水"))]
    assert len(list(encode_pairs(tokenizer, pairs, 60, problems))) == 1
    thumbs = [Thumb("t", ASKED, said("山" * 99), True), Thumb("t", ASKED, said("山"), False)]
    assert [thumb.label for thumb in encode_thumbs(tokenizer, thumbs, 60, problems)] == [False]
    assert problems.counts == {"preference longer than training.context": 2}
    assert "long" in problems.summary()


STEPS = ("先算個位：2 + 4 = 6。", "Then tens: 1 + 3 = 4 🙂", "46")


@pytest.mark.parametrize("template", ["chat", "plain_chat"])
def test_a_step_ends_at_the_token_that_holds_its_last_byte(tokenizer, template):
    tokenizer = tokenizer.with_chat_template(read_chat_template(template))
    (found,) = encode_steps(tokenizer, [Steps("s", LONGER, STEPS, (True, True, False))], 300, Problems())
    assert found.labels == (True, True, False)
    whole = encode_completion(tokenizer, LONGER, said("\n".join(STEPS)))
    assert found.row.ids == whole.ids
    start = whole.counted.index(True)
    ends = [place for place, end in enumerate(found.row.counted) if end]
    assert len(ends) == 3
    for number, end in enumerate(ends, 1):
        upto = b"".join(tokenizer.token_bytes(token) for token in whole.ids[start : end + 1])
        before = b"".join(tokenizer.token_bytes(token) for token in whole.ids[start:end])
        steps = "\n".join(STEPS[:number]).encode()
        assert len(before) < len(steps) <= len(upto)


def test_a_template_that_changes_answers_is_refused_for_steps(tokenizer):
    source = read_chat_template("plain_chat").replace("message.content", "message.content | upper")
    changed = tokenizer.with_chat_template(source)
    with pytest.raises(JielongError, match="cannot find the steps of s"):
        list(encode_steps(changed, [Steps("s", ASKED, ("then", "so"), (True, True))], 300, Problems()))
