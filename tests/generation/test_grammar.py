"""Answers that must have a form: whatever is rolled among the allowed tokens has it, in any vocabulary."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from jielong.core.errors import JielongError
from jielong.generation import Engine, EngineThread, Grammar, GrammarState, Request, SamplingSettings, Step
from jielong.generation.grammar import (
    choice_grammar,
    json_object_grammar,
    json_schema_grammar,
    lark_grammar,
    regex_grammar,
    tool_call_grammar,
)
from jielong.generation.grammar_tokens import grammar_tokens
from jielong.tokenizer import Tokenizer, train_tokenizer

# llguidance keeps numbers in double precision; beyond this, integers share a spelling (RFC 8259, section 6).
EXACT = st.integers(-(2**53) + 1, 2**53 - 1)

TEXT = ["台灣最高的山是玉山。高雄舊稱打狗。", "Water boils at 100 degrees. The highest mountain is Yushan."]
CLOSING = b'"]}'


def byte_level() -> Tokenizer:
    """GPT-2's kind: no token of its own for anything but the end."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator([*TEXT, '{"name": "weather", "arguments": {}}'] * 4, trainer)
    return Tokenizer(backend.to_str(), {"eos_token": "</s>"})


def sentencepiece_like() -> Tokenizer:
    """Llama 2's kind: a space is put in front of every text, bytes are tokens <0x..> beside characters."""
    backend = Backend(models.BPE(byte_fallback=True, unk_token="<unk>"))  # noqa: S106
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=200, special_tokens=["<unk>", "</s>"], show_progress=False, limit_alphabet=60
    )
    backend.train_from_iterator(TEXT * 4, trainer)
    tree = json.loads(backend.to_str())
    for byte in range(256):
        tree["model"]["vocab"][f"<0x{byte:02X}>"] = len(tree["model"]["vocab"])
    return Tokenizer(json.dumps(tree), {"eos_token": "</s>"})


TOKENIZERS = {
    "ours": train_tokenizer(iter([*TEXT, '{"name": "weather", "arguments": {}}'] * 4), 330),
    "byte-level": byte_level(),
    "sentencepiece": sentencepiece_like(),
}
any_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
OURS = TOKENIZERS["ours"]


def ends(tokenizer: Tokenizer) -> list[int]:
    return sorted({tokenizer.eos_id, tokenizer.bos_id})


def choices(state: GrammarState) -> list[int]:
    """Tokens that may come next."""
    allowed = state.allowed()
    found: list[int] = allowed.nonzero().flatten().tolist()
    assert found, "a grammar left nothing to roll"
    return found


def feed(state: GrammarState, tokenizer: Tokenizer, text: str) -> None:
    """Say a text with the first allowed tokens that spell it."""
    data = text.encode()
    while data:
        fitting = [token for token in choices(state) if spelled(tokenizer, token, data)]
        token = max(fitting, key=lambda token: len(tokenizer.token_bytes(token)))
        state.accept(token)
        data = data[len(tokenizer.token_bytes(token)) :]


def spelled(tokenizer: Tokenizer, token: int, data: bytes) -> bool:
    own = tokenizer.token_bytes(token)
    return bool(own) and token not in ends(tokenizer) and data.startswith(own)


def answer(
    state: GrammarState, tokenizer: Tokenizer, seed: int, patience: int = 120
) -> Iterator[tuple[bytes, bool]]:
    """What a model without any sense rolls: the bytes so far and whether they may be all, step by step.

    It ends only where nothing else may come, or with a chance of one in five where it may end. When its
    patience is over it takes what ends the answer, or what closes something.
    """
    dice = random.Random(seed)
    said = b""
    for step in range(1500):
        tokens = choices(state)
        ending = [token for token in tokens if token in ends(tokenizer)]
        assert ending in ([], ends(tokenizer))
        yield said, bool(ending)
        if ending and (len(tokens) == len(ending) or step > patience or dice.random() < 0.2):
            state.accept(dice.choice(ending))
            assert choices(state) == ends(tokenizer)
            return
        tokens = [token for token in tokens if token not in ending]
        closing = [token for token in tokens if any(byte in CLOSING for byte in tokenizer.token_bytes(token))]
        token = dice.choice(closing if closing and step > patience else tokens)
        state.accept(token)
        said += tokenizer.token_bytes(token)
    raise AssertionError(f"no end: {said[-200:]!r}")


def last(state: GrammarState, tokenizer: Tokenizer, seed: int) -> str:
    *_, (said, _) = answer(state, tokenizer, seed)
    return said.decode()


# Schemas

LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(0, 5)),
    st.just({"type": "string"}),
    st.just({"type": "string", "pattern": "^[台-灣]{1,3}[0-9]?$"}),
    st.just({"type": "string", "format": "date"}),
    st.just({"type": "number"}),
    st.just({"type": "boolean"}),
    st.just({"type": ["null", "integer"]}),
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-1000, 1000),
        st.integers(0, 2000),
    ),
    st.builds(
        lambda values: {"enum": values},
        st.lists(
            st.one_of(st.text(max_size=4), st.sampled_from(["玉山", "打狗"]), EXACT, st.none()),
            min_size=1,
            max_size=4,
        ),
    ),
)
NAMES = st.sampled_from(["山", "city", "高度（公尺）", 'quo"te', "a b", "back\\slash"])


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(
            lambda items, least, more: {
                "type": "array",
                "items": items,
                "minItems": least,
                "maxItems": least + more,
            },
            inner,
            st.integers(0, 2),
            st.integers(0, 2),
        ),
        st.builds(
            lambda properties, needed: {
                "type": "object",
                "properties": properties,
                "required": [name for name in properties if name in needed],
                "additionalProperties": False,
            },
            st.dictionaries(NAMES, inner, max_size=3),
            st.sets(NAMES),
        ),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
    )


@examples(max_examples=60)
@given(
    schema=st.recursive(LEAVES, containers, max_leaves=5),
    tokenizer=st.sampled_from(list(TOKENIZERS.values())),
    seed=st.integers(0, 10**6),
)
def test_json_fits_the_schema_and_ends_exactly_where_it_may(
    schema: dict[str, Any], tokenizer: Tokenizer, seed: int
) -> None:
    grammar = json_schema_grammar(tokenizer, ends(tokenizer), schema)
    for said, may_end in answer(grammar.begin(), tokenizer, seed):
        assert may_end == whole_json(said, schema), said


def whole_json(said: bytes, schema: dict[str, Any]) -> bool:
    try:
        value = json.loads(said.decode())
    except ValueError:
        return False
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def test_any_json_object(engine: Engine) -> None:
    grammar = json_object_grammar(OURS, ends(OURS))
    values = [json.loads(last(grammar.begin(), OURS, seed)) for seed in range(8)]
    assert all(isinstance(value, dict) for value in values)
    assert any(values)


# Regular expressions, choices, grammars

PIECES = st.sampled_from(
    ["a", "b+", "[台-灣]", "(ab|ba)*", "玉山?", "[^x]", "[0-9]{2,3}", "(a|玉)", "x?", "\\."]
)


@examples(max_examples=40)
@given(
    pattern=st.lists(PIECES, min_size=1, max_size=5).map("".join),
    tokenizer=st.sampled_from(list(TOKENIZERS.values())),
    seed=st.integers(0, 10**6),
)
def test_an_answer_may_end_exactly_where_the_pattern_matches_all_of_it(
    pattern: str, tokenizer: Tokenizer, seed: int
) -> None:
    grammar = regex_grammar(tokenizer, ends(tokenizer), pattern)
    for said, may_end in answer(grammar.begin(), tokenizer, seed, patience=30):
        try:
            matches = re.fullmatch(pattern, said.decode()) is not None
        except UnicodeDecodeError:
            matches = False
        assert may_end == matches, said


@examples(max_examples=40)
@given(
    texts=st.lists(st.text(max_size=6), min_size=1, max_size=5),
    tokenizer=st.sampled_from(list(TOKENIZERS.values())),
    seed=st.integers(0, 10**6),
)
def test_every_choice_can_come_and_nothing_else(texts: list[str], tokenizer: Tokenizer, seed: int) -> None:
    grammar = choice_grammar(tokenizer, ends(tokenizer), texts)
    assert last(grammar.begin(), tokenizer, seed) in texts
    for text in texts:
        state = grammar.begin()
        feed(state, tokenizer, text)
        assert set(ends(tokenizer)) <= set(choices(state))


def test_a_grammar_with_recursion() -> None:
    grammar = lark_grammar(OURS, ends(OURS), 'start: s\ns: "(" s ")" | "山"')
    for seed in range(10):
        said = last(grammar.begin(), OURS, seed)
        assert re.fullmatch(r"\(*山\)*", said)
        assert said.count("(") == said.count(")")


@pytest.mark.parametrize("name", ["ours", "byte-level"])
@pytest.mark.parametrize("text", [*TEXT, "玉山" * 300])
def test_what_is_certain_comes_in_the_tokenizers_own_tokens(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    state = choice_grammar(tokenizer, ends(tokenizer), [text]).begin()
    ids = []
    while (tokens := choices(state)) != ends(tokenizer):
        assert len(tokens) == 1
        ids += tokens
        state.accept(tokens[0])
    assert ids == tokenizer.encode(text)


# Tool calls

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "天氣",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "maxLength": 6},
                    "unit": {"enum": ["攝氏", "°F"]},
                },
                "required": ["city"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "查詢",
            "parameters": {
                "$defs": {"多": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}},
                "type": "object",
                "properties": {"頁": {"$ref": "#/$defs/多"}},
                "required": ["頁"],
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]
FUNCTIONS = {tool["function"]["name"]: tool["function"] for tool in TOOLS}  # type: ignore[index]


def read_calls(text: str) -> tuple[str, list[dict[str, Any]]]:
    """The text before the first call, and the calls, written as the chat template writes them."""
    before, opening, rest = text.partition("<tool_call>")
    calls = []
    while opening:
        assert rest.startswith("\n")
        call, end = json.JSONDecoder().raw_decode(rest, 1)
        assert rest[1:end].startswith('{"name": "')
        closing = "\n</tool_call>"
        assert rest[end:].startswith(closing)
        calls.append(call)
        rest = rest[end + len(closing) :]
        if not rest:
            break
        assert rest.startswith("\n<tool_call>")
        rest = rest.removeprefix("\n<tool_call>")
    return before, calls


def check_calls(calls: list[dict[str, Any]]) -> None:
    for call in calls:
        assert list(call) == ["name", "arguments"]
        schema = FUNCTIONS[call["name"]].get("parameters", {"maxProperties": 0})  # type: ignore[attr-defined]
        jsonschema.validate(call["arguments"], schema)
        assert call["arguments"].keys() <= schema.get("properties", {}).keys()


@any_tokenizer
def test_required_and_named_calls_are_well_formed(tokenizer: Tokenizer) -> None:
    required = tool_call_grammar(tokenizer, ends(tokenizer), TOOLS, "required")
    single = tool_call_grammar(tokenizer, ends(tokenizer), TOOLS, "required", parallel=False)
    named = tool_call_grammar(tokenizer, ends(tokenizer), TOOLS, "查詢")
    numbers, names = set(), set()
    for seed in range(12):
        before, calls = read_calls(last(required.begin(), tokenizer, seed))
        check_calls(calls)
        assert before == ""
        numbers.add(len(calls))
        names |= {call["name"] for call in calls}
        assert len(read_calls(last(single.begin(), tokenizer, seed))[1]) == 1
    assert names == FUNCTIONS.keys()
    assert max(numbers) > 1
    for seed in range(4):
        _, calls = read_calls(last(named.begin(), tokenizer, seed))
        assert [call["name"] for call in calls] == ["查詢"]
        check_calls(calls)


@any_tokenizer
@pytest.mark.parametrize("before", ["", "我查一下。\n", "a < b <tool <tool_cal\n"])
def test_text_may_go_before_calls_and_what_opens_a_call_becomes_one(
    tokenizer: Tokenizer, before: str
) -> None:
    grammar = tool_call_grammar(tokenizer, ends(tokenizer), TOOLS, "auto")
    for seed in range(4):
        state = grammar.begin()
        feed(state, tokenizer, before)
        assert set(ends(tokenizer)) <= set(choices(state))
        feed(state, tokenizer, "<tool_call>")
        _, calls = read_calls("<tool_call>" + last(state, tokenizer, seed))
        assert calls
        check_calls(calls)


@any_tokenizer
def test_text_alone_is_free(tokenizer: Tokenizer) -> None:
    grammar = tool_call_grammar(tokenizer, ends(tokenizer), TOOLS, "auto")
    for text in ['山 🙂\n{"name": "x"}', "</tool_cal", "\x00\x7f"]:
        state = grammar.begin()
        feed(state, tokenizer, text)
        assert set(ends(tokenizer)) <= set(choices(state))
    for seed in range(5):
        read_calls(last(grammar.begin(), tokenizer, seed))


def test_tags_that_are_tokens_are_not_spelled_and_thinking_is_free() -> None:
    grammar = tool_call_grammar(OURS, ends(OURS), TOOLS, "auto")
    state = grammar.begin()
    special = OURS.special_tokens
    allowed = {text for text, token in special.items() if token in choices(state)}
    assert allowed == {"<think>", "</think>", "<tool_call>", "<|im_end|>", "<|endoftext|>"}
    for text in ["<think>", "山", "</think>", "\n\n<tool_call"]:
        feed(state, OURS, text)
    assert not [token for token in choices(state) if OURS.token_bytes(token).startswith(b">")]


@pytest.mark.parametrize(
    ("tools", "choice", "words"),
    [
        ([], "auto", "no tools"),
        (TOOLS, "clock", "'clock' is none of the tools: weather, 查詢, now"),
        ([{"type": "function", "function": {}}], "auto", "tool 0 has no name"),
        ([TOOLS[2], TOOLS[2]], "auto", "two tools are named 'now'"),
        ([{"function": {"name": "f", "parameters": [1]}}], "auto", "parameters of tool 'f'"),
        ([{"function": {"name": "f", "parameters": {"type": "strin"}}}], "auto", "strin"),
    ],
)
def test_bad_tools_are_named(tools: list[Any], choice: str, words: str) -> None:
    with pytest.raises(JielongError, match=re.escape(words)):
        tool_call_grammar(OURS, ends(OURS), tools, choice)


# States, errors, limits


def test_answers_from_one_grammar_do_not_disturb_each_other() -> None:
    grammar = json_schema_grammar(OURS, ends(OURS), containers_of_everything())
    alone = [list(answer(grammar.begin(), OURS, seed)) for seed in range(6)]
    together: list[list[tuple[bytes, bool]]] = [[] for _ in alone]
    running = {seed: answer(grammar.begin(), OURS, seed) for seed in range(6)}
    while running:
        for seed, steps in list(running.items()):
            step = next(steps, None)
            if step is None:
                del running[seed]
            else:
                together[seed].append(step)
    assert together == alone


def containers_of_everything() -> dict[str, Any]:
    return {
        "type": "array",
        "minItems": 1,
        "items": {"type": "object", "properties": {"山": {"type": "string"}, "高": {"type": "number"}}},
        "maxItems": 3,
    }


def test_a_tokenizer_is_prepared_once() -> None:
    assert grammar_tokens(OURS, ends(OURS)) is grammar_tokens(OURS, set(ends(OURS)))
    assert grammar_tokens(OURS, ends(OURS)) is not grammar_tokens(OURS, [OURS.eos_id])


Make = Callable[[Tokenizer, list[int], Any], Grammar]


@pytest.mark.parametrize(
    ("make", "source", "words"),
    [
        (json_schema_grammar, {"type": "strin"}, "JSON schema cannot be used: Invalid type: strin"),
        (json_schema_grammar, {"type": "array", "uniqueItems": True}, "uniqueItems"),
        (json_schema_grammar, {"type": "string", "minLength": 5, "maxLength": 2}, "minLength"),
        (json_schema_grammar, {"$ref": "#/$defs/no"}, "/$defs/no"),
        (json_schema_grammar, {"$ref": "#"}, "no token can come next"),
        (json_schema_grammar, {"minimum": "台" * 60, "type": "number"}, "minimum"),
        (json_schema_grammar, {"type": "integer", "minimum": 10**400}, "out of range"),
        (json_schema_grammar, {"const": {1}}, "JSON schema is not JSON"),
        (json_schema_grammar, {"const": "\ud800"}, "UTF-16"),
        (json_schema_grammar, [], "must be an object, not a list"),
        (json_schema_grammar, {"const": "x" * 70_000}, "too long"),
        (regex_grammar, "(a", "unclosed group"),
        (regex_grammar, "(?=a)", "look-around"),
        (lark_grammar, "start: foo", 'unknown name: "foo"'),
        (lark_grammar, "start: C\nC: /a/ & /b/", "no token can come next"),
        (choice_grammar, [], "empty"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(make: Make, source: Any, words: str) -> None:
    with pytest.raises(JielongError, match=re.escape(words)) as caught:
        make(OURS, ends(OURS), source)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


HOSTILE = """
import json, resource, sys
sys.path.insert(0, {tests!r})
from test_grammar import *

def nested(depth):
    schema = {{"type": "string"}}
    for _ in range(depth):
        schema = {{"items": schema}}
    return schema

def chain(number, link):
    links = {{f"d{{i}}": link({{"$ref": f"#/$defs/d{{i + 1}}"}}) for i in range(number)}}
    return {{"$ref": "#/$defs/d0", "$defs": {{**links, f"d{{number}}": {{"type": "null"}}}}}}

rules = "\\n".join(f"c{{i}}: c{{i + 1}} 'b'" for i in range(3900)).replace("'", '"')
sources = [
    (regex_grammar, "((a{{1,1000}}){{1,1000}}){{1,1000}}"),
    (regex_grammar, "(.*a.{{200}}){{20}}"),
    (regex_grammar, "a{{100000000}}"),
    (regex_grammar, "(" * 30000 + ")" * 30000),
    (lark_grammar, "start: " + "(" * 30000 + '"a"' + ")" * 30000),
    (lark_grammar, "start: s\\ns: s s | s s s | \\"a\\" |"),
    (lark_grammar, "start: a{{1000,2000}}\\na: b{{1000,2000}}\\nb: \\"a\\"{{1000,2000}}"),
    (lark_grammar, f"start: c0\\n{{rules}}\\nc3900: \\"a\\""),
    (json_schema_grammar, nested(100)),
    (json_schema_grammar, nested(450)),
    (json_schema_grammar, nested(100_000)),
    (json_schema_grammar, chain(1700, lambda ref: ref)),
    (json_schema_grammar, chain(1300, lambda ref: {{"items": ref}})),
    (json_schema_grammar, chain(40, lambda ref: {{"anyOf": [ref, ref]}})),
    (json_schema_grammar, {{"type": "array", "minItems": 10**9, "items": {{"type": "null"}}}}),
    (json_schema_grammar, {{"type": "string", "minLength": 10**9}}),
    (json_schema_grammar, {{"const": "山" * 20000}}),
    (json_schema_grammar, {{"enum": [f"x{{i * 7919 % 100003}}" for i in range(6000)]}}),
    (json_schema_grammar, {{"type": "integer", "multipleOf": 999999937}}),
]
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for make, source in sources:
    try:
        steps = answer(make(OURS, ends(OURS), source).begin(), OURS, 1)
        for _ in zip(range(30), steps):
            pass
    except JielongError as error:
        assert "\\n" not in str(error), error
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_hostile_sources_neither_hang_nor_crash_nor_fill_the_memory() -> None:
    code = HOSTILE.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 400


# In the engine


def test_a_random_model_writes_json_while_others_write_freely(engine: Engine) -> None:
    tokenizer = engine.tokenizer
    schema = {
        "type": "object",
        "properties": {"山": {"enum": ["玉山", "雪山"]}, "高": {"type": "integer", "maximum": 999}},
        "required": ["山", "高"],
        "additionalProperties": False,
    }
    grammar = json_schema_grammar(tokenizer, engine.end_ids, schema)
    rolled = SamplingSettings(temperature=1.5, max_tokens=80)
    prompt = tokenizer.encode("山")
    requests = [Request(prompt, rolled, stream, grammar=grammar) for stream in range(10)]
    requests += [Request(prompt, rolled, stream) for stream in range(10)]
    requests.append(Request(prompt, SamplingSettings(temperature=0, max_tokens=80), grammar=grammar))
    completions = engine.run(requests)
    formed = [*completions[:10], completions[20]]
    for completion in formed:
        if completion.finish_reason == "stop":
            jsonschema.validate(json.loads(completion.text), schema)
    assert sum(completion.finish_reason == "stop" for completion in formed) >= 9
    assert len({completion.text for completion in formed}) > 4
    assert completions[10:20] == engine.run(requests[10:20])


def test_a_grammar_that_fails_on_the_way_ends_its_own_answer_only(engine: Engine) -> None:
    tokenizer = engine.tokenizer
    grammar = regex_grammar(tokenizer, engine.end_ids, "((a{1,1000}){1,1000}){1,1000}")
    no_end = dict.fromkeys(engine.end_ids, -100.0)
    settings = SamplingSettings(temperature=0, max_tokens=60, logit_bias=no_end)
    failing = Request(tokenizer.encode("a"), settings, grammar=grammar)
    other = Request(tokenizer.encode("山"), settings)
    expected = engine.run([other])[0]
    with pytest.raises(JielongError, match="too many"):
        engine.run([failing, other])
    served: dict[str, list[Step | Exception]] = {"failing": [], "other": []}
    thread = EngineThread(engine)
    thread.submit(failing, served["failing"].append)
    thread.submit(other, served["other"].append)
    thread.close(drain_seconds=60)
    assert isinstance(served["failing"].pop(), JielongError)
    assert all(isinstance(step, Step) and step.finish_reason is None for step in served["failing"])
    assert [step.token for step in served["other"] if isinstance(step, Step)] == expected.ids


class Failing:
    """A grammar of somebody else's that allows everything, until it fails in one of its own ways."""

    def __init__(self, vocabulary: int, way: str, after: int):
        self.vocabulary, self.way, self.left = vocabulary, way, after

    def begin(self) -> "Failing":
        return Failing(self.vocabulary, self.way, self.left)

    def allowed(self) -> torch.Tensor:
        if self.left or self.way == "accept":
            return torch.ones(self.vocabulary, dtype=torch.bool)
        if self.way == "allowed":
            raise ZeroDivisionError
        if self.way == "nothing":
            return torch.zeros(self.vocabulary, dtype=torch.bool)
        return torch.ones(self.vocabulary + 1, dtype=torch.bool)

    def accept(self, token: int) -> None:
        if not self.left:
            raise KeyError(token)
        self.left -= 1


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize(
    ("way", "error"),
    [
        ("accept", KeyError),
        ("allowed", ZeroDivisionError),
        ("nothing", JielongError),
        ("too wide", RuntimeError),
    ],
)
def test_whatever_fails_in_a_grammar_ends_its_own_answer_only(
    engine: Engine, way: str, error: type[Exception], after: int
) -> None:
    tokenizer = engine.tokenizer
    no_end = dict.fromkeys(engine.end_ids, -100.0)
    settings = SamplingSettings(max_tokens=20, seed=3, logit_bias=no_end)
    others = [Request(tokenizer.encode("山"), settings, stream) for stream in range(2)]
    bad = Failing(tokenizer.vocab_size, way, after)
    failing = Request(tokenizer.encode("山"), settings, 0, grammar=bad)
    expected = engine.run(others)
    with pytest.raises(error):
        engine.run([others[0], failing, others[1]])
    shown = []
    with pytest.raises(error):
        shown.extend(engine.stream(failing.prompt, settings, grammar=bad))
    assert [step.token for step in shown] == expected[0].ids[:after]
    served: list[list[Step | Exception]] = [[], [], []]
    thread = EngineThread(engine)
    for request, steps in zip([others[0], failing, others[1]], served, strict=True):
        thread.submit(request, steps.append)
    thread.close(drain_seconds=60)
    assert isinstance(served[1].pop(), error)
    assert [step.token for step in served[1]] == expected[0].ids[:after]
    assert [[step.token for step in steps] for steps in (served[0], served[2])] == [
        completion.ids for completion in expected
    ]
