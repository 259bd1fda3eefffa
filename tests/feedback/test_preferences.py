import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.data import Problems
from jielong.feedback.preferences import pairs_of, read_preferences, thumbs_of
from jielong.feedback.records import Pair, Ranking, Steps, Thumb

USER = {"role": "user", "content": "台灣最高的山是哪一座？"}
GOOD = {"role": "assistant", "content": "玉山。"}
BAD = {"role": "assistant", "content": "泰山。"}
SHAREGPT = [{"from": "human", "value": "嗨"}, {"from": "gpt", "value": "你好"}]


def read(tmp_path, *rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    problems = Problems()
    return list(read_preferences(path, problems)), problems


SAME_PAIR = {
    "texts": {"prompt": USER["content"], "chosen": "玉山。", "rejected": "泰山。"},
    "messages": {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
    "one message a side": {"prompt": [USER], "chosen": GOOD, "rejected": BAD},
    "no prompt": {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "openai": {"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
    "alpaca": {"instruction": USER["content"], "input": "", "chosen": "玉山。", "rejected": "泰山。"},
    "sharegpt": {
        "conversations": [{"from": "human", "value": USER["content"]}],
        "chosen": {"from": "gpt", "value": "玉山。"},
        "rejected": {"from": "gpt", "value": "泰山。"},
    },
    "hh-rlhf": {
        "chosen": f"\n\nHuman: {USER['content']}\n\nAssistant: 玉山。",
        "rejected": f"\n\nHuman: {USER['content']}\n\nAssistant: 泰山。",
    },
    "texts with a common beginning": {
        "chosen": f"{USER['content']}\n玉山。",
        "rejected": f"{USER['content']}\n泰山。",
    },
    "dialogue as a prompt": {
        "prompt": f"\n\nHuman: {USER['content']}\n\nAssistant:",
        "chosen": "玉山。",
        "rejected": "泰山。",
    },
}


@pytest.mark.parametrize("row", SAME_PAIR.values(), ids=SAME_PAIR.keys())
def test_every_form_of_a_pair_is_the_same_pair(tmp_path, row):
    (pair,), problems = read(tmp_path, row)
    assert problems.total == 0
    assert pair == Pair("rows.jsonl:1", [USER], [GOOD], [BAD])


def test_thumbs_rankings_and_steps_are_told_by_their_keys(tmp_path):
    rows = [
        {"prompt": USER["content"], "completion": "玉山。", "label": True, "lang": "zh"},
        {"prompt": [USER], "completion": [BAD], "label": 0},
        {"messages": [USER, GOOD], "label": False},
        {
            "conversations": [{"from": "human", "value": "嗨"}, {"from": "gpt", "value": "你好"}],
            "kto_tag": True,
        },
        {"prompt": USER["content"], "completions": ["玉山。", "雪山。", "泰山。"], "id": "best"},
        {"prompt": "1 + 2 + 3 = ?", "completions": ["1 + 2 = 3", "3 + 3 = 7"], "labels": [True, False]},
        {"prompt": "1 + 2 = ?", "steps": ["3"], "labels": [-1]},
    ]
    found, problems = read(tmp_path, *rows)
    assert problems.total == 0
    assert [type(record) for record in found] == [Thumb, Thumb, Thumb, Thumb, Ranking, Steps, Steps]
    assert [record.label for record in found[:4]] == [True, False, False, True]
    assert found[0].metadata == {"lang": "zh"}
    assert found[4].id == "rows.jsonl:best"
    assert found[4].completions[2] == [BAD]
    assert found[5].labels == (True, False)
    assert found[6].labels == (False,)


def test_margin_tie_tools_and_system_are_kept(tmp_path):
    tools = [{"type": "function", "function": {"name": "look_up"}}]
    row = SAME_PAIR["texts"] | {"margin": 2, "tie": True, "tools": json.dumps(tools), "system": "說中文。"}
    (pair,), _ = read(tmp_path, row)
    assert (pair.margin, pair.tie, pair.tools) == (2.0, True, tools)
    assert pair.prompt == [{"role": "system", "content": "說中文。"}, USER]


def test_a_dialogue_is_cut_where_the_two_begin_to_differ(tmp_path):
    common = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: A question: how?"
    rows = [{"chosen": f"{common}\n\nAssistant: So.", "rejected": f"{common}\n\nAssistant: No.\nHuman: no"}]
    (pair,), _ = read(tmp_path, *rows)
    assert [message["role"] for message in pair.prompt] == ["user", "assistant", "user"]
    assert pair.prompt[-1]["content"] == "A question: how?"
    assert pair.rejected == [{"role": "assistant", "content": "No.\nHuman: no"}]


BAD_ROWS = {
    "row is no preference (its columns: text)": {"text": "x"},
    "row is no preference (its columns: none)": {},
    "chosen and rejected are the same": SAME_PAIR["texts"] | {"rejected": "玉山。"},
    "chosen and rejected have no common beginning, and there is no prompt": {"chosen": "a", "rejected": "b"},
    "assistant turn is empty": SAME_PAIR["texts"] | {"rejected": ""},
    "chat does not end with the assistant": SAME_PAIR["messages"] | {"chosen": [GOOD, USER]},
    "assistant turn without a user turn before it": SAME_PAIR["messages"] | {"prompt": [USER, GOOD]},
    "unknown role 'narrator'": SAME_PAIR["messages"] | {"chosen": [{"role": "narrator", "content": "x"}]},
    "input is not an object with messages": SAME_PAIR["openai"] | {"input": "x"},
    "label is not true or false": {"prompt": "x", "completion": "y", "label": "up"},
    "number of labels is not that of steps": {"prompt": "x", "steps": ["a"], "labels": [True, True]},
    "step is not text, or an empty one": {"prompt": "x", "steps": [" "], "labels": [True]},
    "ranking of fewer than two completions": {"prompt": "x", "completions": ["a"]},
    "margin is not a number, or tie not true or false": SAME_PAIR["texts"] | {"margin": "much"},
    "turns are not a list, or an empty one": SAME_PAIR["messages"] | {"prompt": []},
}  # fmt: skip


def test_bad_rows_are_counted_with_their_reason_and_the_others_are_read(tmp_path):
    rows = [*BAD_ROWS.values(), SAME_PAIR["texts"]]
    found, problems = read(tmp_path, *rows)
    assert len(found) == 1
    assert problems.counts == dict.fromkeys(BAD_ROWS, 1)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_packed_files_are_read(tmp_path, suffix):
    line = (json.dumps(SAME_PAIR["texts"]) + "\n").encode()
    packed = gzip.compress(line) if suffix == ".gz" else zstandard.ZstdCompressor().compress(line)
    (tmp_path / f"rows.jsonl{suffix}").write_bytes(packed)
    problems = Problems()
    assert len(list(read_preferences(tmp_path, problems))) == 1
    assert problems.total == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "messages"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
columns = st.sampled_from(
    [
        "prompt",
        "chosen",
        "rejected",
        "completion",
        "completions",
        "label",
        "labels",
        "input",
        "messages",
        "margin",
    ]
)


@settings(max_examples=150)
@given(row=st.dictionaries(columns, json_values, max_size=5))
def test_no_row_can_break_the_reader(tmp_path_factory, row):
    found, problems = read(tmp_path_factory.mktemp("rows"), row)
    assert len(found) + problems.total == 1


# ---- conversions


def record(kind, *given_values, **more):
    return kind("id", [USER], *given_values, **more)


def said(text):
    return [{"role": "assistant", "content": text}]


@given(st.lists(st.sampled_from("abcde"), min_size=2, max_size=6), st.none() | st.integers(0, 4))
def test_a_ranking_gives_every_pair_of_different_completions_better_first(texts, most):
    pairs = list(pairs_of([record(Ranking, tuple(map(said, texts)))], most))
    every = [
        (better, worse)
        for place, better in enumerate(texts)
        for worse in texts[place + 1 :]
        if better != worse
    ]
    found = [(pair.chosen[0]["content"], pair.rejected[0]["content"]) for pair in pairs]
    assert Counter(found) == Counter(every) if most is None else not Counter(found) - Counter(every)
    assert len(found) == len(every) if most is None else len(found) == min(most, len(every))
    assert len({pair.id for pair in pairs}) == len(pairs)


def test_thumbs_become_pairs_with_those_of_the_same_prompt():
    other = [{"role": "user", "content": "別的"}]
    thumbs = [
        Thumb("1", [USER], said("a"), True),
        Thumb("2", other, said("b"), False),
        Thumb("3", [USER], said("c"), False),
        Thumb("4", [USER], said("d"), False),
        Thumb("5", [USER], said("a"), False),  # contradicts the first one
    ]
    found = [(pair.id, pair.chosen, pair.rejected) for pair in pairs_of(thumbs)]
    assert found == [("1>3", said("a"), said("c")), ("1>4", said("a"), said("d"))]
    assert len(list(pairs_of(thumbs, most=1))) == 1


def test_pairs_become_thumbs_but_ties_say_nothing():
    pair, tie = record(Pair, said("a"), said("b")), record(Pair, said("a"), said("b"), tie=True)
    assert [(thumb.completion, thumb.label) for thumb in thumbs_of([pair, tie])] == [
        (said("a"), True),
        (said("b"), False),
    ]
    ranking = record(Ranking, (said("a"), said("b"), said("c")))
    assert [thumb.completion for thumb in thumbs_of([ranking])] == [said("a"), said("c")]


# ---- real files

REAL = {
    "hh_harmless_base_test.jsonl.zst": 1618,
    "llms_from_scratch_pref.jsonl.zst": 769,
    "nc/alpaca_eval_gpt4_judged.jsonl.zst": 2252,
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(name):
    file = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "preference" / name
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    problems = Problems()
    found = list(read_preferences(file, problems))
    assert len(found) + problems.total == REAL[name]
    assert problems.total <= REAL[name] // 25, problems.summary()
    for pair in found:
        assert isinstance(pair, Pair)
        assert pair.prompt[-1]["role"] == "user"
        assert pair.chosen != pair.rejected
        assert [message["role"] for message in pair.chosen] == ["assistant"]
