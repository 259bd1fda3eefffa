"""Instruction data: every usual form becomes the same messages; bad rows are counted and named."""

import json
from pathlib import Path
from typing import Any

import pytest

from jielong.data import Conversation, Problems, read_conversations

Row = dict[str, Any]
CHAT = [{"role": "user", "content": "問"}, {"role": "assistant", "content": "答"}]
SYSTEM = {"role": "system", "content": "你是小金"}


def read(tmp_path: Path, rows: list[Any], name: str = "a.jsonl") -> tuple[list[Conversation], Problems]:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / name).write_text(text, encoding="utf-8")
    problems = Problems()
    return list(read_conversations(tmp_path / name, problems)), problems


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"messages": CHAT}, CHAT),
        ({"messages": [SYSTEM, *CHAT, *CHAT]}, [SYSTEM, *CHAT, *CHAT]),
        (
            {"messages": [{"role": "developer", "content": "s"}, *CHAT]},
            [{"role": "system", "content": "s"}, *CHAT],
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "問"}]}, CHAT[1]]}, CHAT),
        ({"messages": [CHAT[0], CHAT[1] | {"weight": 0}]}, [CHAT[0], CHAT[1] | {"weight": 0}]),
        ({"conversations": [{"from": "human", "value": "問"}, {"from": "gpt", "value": "答"}]}, CHAT),
        (
            {
                "system": "你是小金",
                "conversations": [{"from": "human", "value": "問"}, {"from": "gpt", "value": "答"}],
            },
            [SYSTEM, *CHAT],
        ),
        ({"conversations": CHAT}, CHAT),
        ({"instruction": "問", "output": "答"}, CHAT),
        ({"instruction": "問", "input": "", "output": "答"}, CHAT),
        ({"instruction": "譯", "input": "a", "output": "b"}, [{"role": "user", "content": "譯\n\na"}, None]),
        ({"instruction": "問", "context": "", "response": "答", "category": "x"}, CHAT),
        (
            {"instruction": "問", "output": "答", "system": "你是小金", "history": [["問", "答"]]},
            [SYSTEM, *CHAT, *CHAT],
        ),
        ({"prompt": "問", "completion": "答"}, CHAT),
        ({"prompt": CHAT[:1], "completion": CHAT[1:]}, CHAT),
        ({"question": "問", "answer": "答"}, CHAT),
        ({"question": "問", "answer": 5}, [CHAT[0], {"role": "assistant", "content": "5"}]),
        (
            {"question": "問", "answer": "5", "rationale": "2 + 3"},
            [CHAT[0], {"role": "assistant", "content": "2 + 3\n5"}],
        ),
    ],
)
def test_every_form_becomes_messages(tmp_path: Path, row: Row, messages: list[Any]) -> None:
    found, problems = read(tmp_path, [row | {"id": "r", "lang": "zh"}])
    assert problems.total == 0
    (conversation,) = found
    expected = [
        conversation.messages[i] if message is None else message for i, message in enumerate(messages)
    ]
    assert conversation.messages == expected
    assert len(conversation.messages) == len(messages)
    assert (conversation.id, conversation.metadata) == ("a.jsonl:r", {"lang": "zh"})


def test_several_instances_of_one_instruction_are_several_chats(tmp_path: Path) -> None:
    instances = [{"input": "", "output": "答"}, {"input": "a", "output": "b"}]
    found, problems = read(tmp_path, [{"instruction": "問", "instances": instances}])
    assert [conversation.id for conversation in found] == ["a.jsonl:1#1", "a.jsonl:1#2"]
    assert found[0].messages == CHAT
    assert problems.total == 0


def test_tools_and_tool_calls_survive(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    turns = [
        {"from": "human", "value": "天氣？"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"city": "台北"}}'},
        {"from": "observation", "value": "晴"},
        {"from": "gpt", "value": "晴天"},
    ]
    found, problems = read(tmp_path, [{"conversations": turns, "tools": json.dumps(tools)}])
    assert problems.total == 0
    assert found[0].tools == tools
    calls = [{"type": "function", "function": {"name": "f", "arguments": {"city": "台北"}}}]
    assert found[0].messages[1] == {"role": "assistant", "content": "", "tool_calls": calls}
    assert [message["role"] for message in found[0].messages] == ["user", "assistant", "tool", "assistant"]
    same, _ = read(tmp_path, [{"messages": found[0].messages, "tools": tools}])
    assert same[0].messages == found[0].messages


def test_the_best_ranked_replies_of_a_tree_are_followed(tmp_path: Path) -> None:
    worse = {"role": "assistant", "text": "差", "rank": 1, "replies": []}
    unanswered = {"role": "prompter", "text": "再問", "replies": []}
    best = {"role": "assistant", "text": "答", "rank": 0, "replies": [unanswered]}
    found, _ = read(tmp_path, [{"prompt": {"role": "prompter", "text": "問", "replies": [worse, best]}}])
    assert found[0].messages == CHAT


USER, ASSISTANT = CHAT


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "prose"}, "not instruction data"),
        ({}, "not instruction data"),
        ({"messages": []}, "turns are not a list"),
        ({"messages": "hello"}, "turns are not a list"),
        ({"messages": ["hello"]}, "turn is not an object"),
        ({"messages": [{"role": "judge", "content": "a"}]}, "unknown role 'judge'"),
        ({"messages": [{"content": "a"}]}, "unknown role"),
        ({"messages": [USER, {"role": "assistant", "content": 3}]}, "not text but int"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]},
            "parts that are not text",
        ),
        ({"messages": [USER, USER, ASSISTANT]}, "two user turns in a row"),
        ({"messages": [ASSISTANT]}, "without a user turn"),
        ({"messages": [USER, ASSISTANT, ASSISTANT]}, "without a user turn"),
        ({"messages": [USER, SYSTEM, ASSISTANT]}, "system turn is not the first"),
        ({"messages": [USER]}, "does not end with the assistant"),
        ({"messages": [SYSTEM]}, "does not end with the assistant"),
        (
            {"messages": [USER, {"role": "tool", "content": "x"}, ASSISTANT]},
            "tool result without a tool call",
        ),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, "assistant turn is empty"),
        ({"messages": [{"role": "user", "content": None}, ASSISTANT]}, "user turn is empty"),
        ({"instruction": "問"}, "instruction without output"),
        ({"instruction": "問", "output": ["答"]}, "assistant turn is not text"),
        ({"instruction": "問", "output": ""}, "assistant turn is empty"),
        ({"instruction": "問", "output": "答", "history": ["x"]}, "history is not"),
        ({"prompt": "問"}, "prompt without completion"),
        ({"conversations": [{"from": "function_call", "value": "{"}]}, "function call is not JSON"),
        ({"messages": CHAT, "tools": "{"}, "tools are not JSON"),
    ],
)
def test_bad_rows_are_counted_and_named_and_the_others_are_read(
    tmp_path: Path, row: Row, reason: str
) -> None:
    found, problems = read(tmp_path, [{"messages": CHAT}, row, {"messages": CHAT}])
    assert [conversation.messages for conversation in found] == [CHAT, CHAT]
    assert problems.total == 1
    assert reason in problems.summary()
    assert "a.jsonl:2" in problems.summary()


def test_other_files_are_counted_and_folders_read(tmp_path: Path) -> None:
    read(tmp_path, [{"messages": CHAT}])
    (tmp_path / "README.md").write_text("about")
    problems = Problems()
    assert len(list(read_conversations([tmp_path], problems))) == 1
    assert problems.counts == {"unknown kind of instruction file .md": 1}


def test_lone_surrogates_are_repaired(tmp_path: Path) -> None:
    found, _ = read(tmp_path, [])
    (tmp_path / "a.jsonl").write_text('{"instruction": "a\\ud83d", "output": "\\ud83d\\ude00"}\n')
    found = list(read_conversations(tmp_path / "a.jsonl", Problems()))
    assert [message["content"] for message in found[0].messages] == ["a\ufffd", "😀"]


REAL = {
    "flan_cot_en.jsonl.zst": 33_443,
    "llms_from_scratch_1100.jsonl": 769,
    "nc/alpaca_zh_tw_14k.jsonl.zst": 13_639,
    "oasst_en_100_trees.jsonl.zst": 100,
    "self_instruct_seed_tasks.jsonl": 175,
    "user_oriented_instructions.jsonl": 252,
}


@pytest.mark.parametrize("name", REAL)
def test_real_instruction_sets_are_read(name: str) -> None:
    file = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "instruct" / name
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    problems = Problems()
    found = list(read_conversations(file, problems))
    assert len(found) + problems.total >= REAL[name]
    assert problems.total <= REAL[name] // 100, problems.summary()
    for conversation in found:
        assert conversation.messages[-1]["role"] == "assistant"
        assert "user" in [message["role"] for message in conversation.messages]
