import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.lm.tool_calls import ToolCall, ToolCallParser

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.builds(
    lambda name, arguments: ToolCall(name, json.dumps(arguments, ensure_ascii=False)),
    st.text(max_size=8),
    st.dictionaries(st.text(max_size=8) | st.just("</tool_call>"), JSON, max_size=3),
)
# What models write, good and bad, and every beginning of it.
PIECES = st.sampled_from(
    [
        "<tool_call>", "</tool_call>", "<tool", "_call>", "\n", " ", '{"name": "f", "arguments": {}}', "{",
        "}", '{"name": "f", "arguments": {"a": "</tool_call>"}}', '{"name": 3}', "NaN", "台", "ok <", '"',
    ]
)  # fmt: skip


def written(call: ToolCall) -> str:
    return f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}\n</tool_call>'


def read(pieces) -> list:
    """All that a parser finds, texts next to each other joined."""
    parser = ToolCallParser()
    found: list = []
    for part in [part for piece in pieces for part in parser.push(piece)] + parser.flush():
        assert part != ""
        if found and isinstance(part, str) and isinstance(found[-1], str):
            found[-1] += part
        else:
            found.append(part)
    return found


@given(st.lists(PIECES, max_size=14).map("".join), st.lists(st.integers(0, 60), max_size=6))
def test_how_the_text_was_cut_does_not_matter(text, cuts):
    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in itertools.pairwise(borders)]
    assert read(pieces) == read([text]) == read(list(text))


@given(st.lists(PIECES, max_size=14).map("".join))
def test_nothing_but_white_space_around_calls_is_lost(text):
    def bare(value: str) -> str:
        return "".join(value.split())

    parts = read([text])
    calls = [part for part in parts if isinstance(part, ToolCall)]
    texts = "".join(part for part in parts if isinstance(part, str))
    assert bare(text).count("<tool_call>") == bare(texts).count("<tool_call>") + len(calls) + sum(
        call.arguments.count("<tool_call>") for call in calls
    )
    if not calls:
        assert texts == text


@given(st.text(alphabet="ab台 \n<", max_size=12), st.lists(CALLS, min_size=1, max_size=3))
def test_well_formed_calls_come_out_as_they_were(text, calls):
    parts = read([text + "".join(map(written, calls))])
    assert [part for part in parts if isinstance(part, ToolCall)] == calls
    said = [part for part in parts if isinstance(part, str)]
    assert "".join(said).strip() == text.strip()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        '{"name": "f"}',
        '{"name": 1, "arguments": {}}',
        '{"name": "f", "arguments": NaN}',
        "[1]",
        "[" * 9999,
    ],
)
def test_a_malformed_call_stays_text(body):
    text = f"<tool_call>{body}</tool_call>"
    assert read([text]) == [text]


def test_text_that_cannot_begin_a_call_is_given_at_once():
    parser = ToolCallParser()
    assert parser.push("a < b") == ["a < b"]
    assert parser.push(" <tool_c") == []
    assert parser.push("at>") == [" <tool_cat>"]
