"""Answers that must have a form: JSON by a schema, a regular expression, a grammar, tool calls.

Before each roll of the die the grammar says which tokens can still lead to a whole answer; the others get
probability 0. What grammars there are and how tokens are checked against them is llguidance's work
(github.com/guidance-ai/llguidance): an Earley parser over a lexer of regular-expression derivatives.
"""

import json
import re
import string
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.generation.grammar_tokens import grammar_tokens
from jielong.generation.request import Grammar
from jielong.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

# JSON as json.dumps and our chat template write it: one line, a space after each comma and colon. Any white
# space wherever JSON allows it would let a weak model fill its whole answer with blanks.
_ONE_LINE: "JsonCompileOptions" = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
# Bytes of a schema, pattern or grammar. Schemas in use have a few thousand.
_LONGEST_SOURCE = 1 << 16
_LONGEST_TOOLS = 1 << 18
# Address space for compiling, used only as far as it is needed: 12 kB a level for the deepest nesting that
# fits into the longest source. Levels were measured to take up to 8 kB.
_STACK_BYTES = 256 << 20
# llguidance's limits on what a source may grow into: 1 to 2 kB a state, about 100 bytes a symbol.
_MOST_STATES, _MOST_SYMBOLS = 20_000, 100_000
_LONGEST_MESSAGE = 200
# Keywords with which a schema says, or may say elsewhere, which properties there are besides those listed.
_CLOSED_BY = {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"}
_REFERENCE = re.compile(r'(?<="\$ref": ")[^"]*')
_OPENING, _CLOSING = "<tool_call>", "</tool_call>"


def json_schema_grammar(tokenizer: Tokenizer, end_ids: Collection[int], schema: Mapping[str, Any]) -> Grammar:
    """Make the answer one line of JSON that a JSON Schema (draft 2020-12) accepts.

    Properties come in the schema's order. What llguidance cannot promise of a schema (`not`, `uniqueItems`,
    an unknown `format`, ...) is an error instead of being left out.

    Args:
        tokenizer: whose tokens the answer is made of.
        end_ids: tokens that end an answer.
        schema: the schema as parsed JSON.

    Raises:
        JielongError: if the schema is not valid, not supported, contradicts itself or is too complex.
    """
    from llguidance import LLMatcher

    text = _json_text(schema, "JSON schema")
    try:
        source = LLMatcher.grammar_from_json_schema(text, overrides=_ONE_LINE)
    except ValueError as error:
        raise JielongError(f"the JSON schema cannot be used: {_short(str(error))}") from None
    return _CompiledGrammar(tokenizer, end_ids, source, "JSON schema")


def json_object_grammar(tokenizer: Tokenizer, end_ids: Collection[int]) -> Grammar:
    """Make the answer any JSON object, on one line."""
    return json_schema_grammar(tokenizer, end_ids, {"type": "object"})


def regex_grammar(tokenizer: Tokenizer, end_ids: Collection[int], pattern: str) -> Grammar:
    """Make the answer match a regular expression from its beginning to its end.

    The syntax is that of Rust's `regex` crate: as Python's, without look-around and back-references.

    Raises:
        JielongError: if the pattern is not valid or too complex.
    """
    from llguidance import LLMatcher

    source = LLMatcher.grammar_from_regex(_checked(pattern, "regular expression"))
    return _CompiledGrammar(tokenizer, end_ids, source, "regular expression")


def lark_grammar(tokenizer: Tokenizer, end_ids: Collection[int], text: str) -> Grammar:
    """Make the answer follow a context-free grammar in llguidance's variant of Lark's syntax.

    Raises:
        JielongError: if the grammar is not valid or too complex.
    """
    from llguidance import LLMatcher

    source = LLMatcher.grammar_from_lark(_checked(text, "grammar"))
    return _CompiledGrammar(tokenizer, end_ids, source, "grammar")


def choice_grammar(tokenizer: Tokenizer, end_ids: Collection[int], texts: Sequence[str]) -> Grammar:
    """Make the answer one of some texts.

    Raises:
        JielongError: if there is no text to choose from.
    """
    if not texts:
        raise JielongError("there is nothing to choose from: the list of choices is empty")
    return lark_grammar(tokenizer, end_ids, "start: CHOICE\nCHOICE: " + " | ".join(map(_literal, texts)))


def tool_call_grammar(
    tokenizer: Tokenizer,
    end_ids: Collection[int],
    tools: Sequence[Mapping[str, Any]],
    choice: str = "auto",
    *,
    parallel: bool = True,
) -> Grammar:
    """Make every tool call in the answer well-formed, as our chat template (and Qwen3's) writes calls.

        <tool_call>
        {"name": "weather", "arguments": {"city": "台北"}}
        </tool_call>

    The tags are the tokenizer's own tokens where it has them, and plain text where it has not. A tool's
    arguments fit its JSON schema; one that lists properties and does not speak of others allows no others.

    Args:
        tokenizer: whose tokens the answer is made of.
        end_ids: tokens that end an answer.
        tools: as OpenAI's `tools`: `{"type": "function", "function": {"name": ..., "parameters": ...}}`.
        choice: `auto`: any text, any text and then calls, or calls; `required`: calls only; a tool's name:
            one call of this tool.
        parallel: whether one answer may hold more than one call.

    Raises:
        JielongError: if there are no tools, a tool has no name or shares it, its parameters are no usable
            JSON schema, or the choice names no tool.
    """
    functions = _functions(tools)
    if choice not in ("auto", "required"):
        if choice not in functions:
            raise JielongError(f"tool choice {choice!r} is none of the tools: {', '.join(functions)}")
        functions, parallel = {choice: functions[choice]}, False
    opening, closing = _tag(tokenizer, _OPENING), _tag(tokenizer, _CLOSING)
    calls = "first call" + (f' ("\\n" {opening} call)*' if parallel else "")
    rules = [
        *([f"start: {calls}", f"first: {opening}"] if choice != "auto" else _text_rules(tokenizer, calls)),
        "call: " + " | ".join(f"call_{number}" for number in range(len(functions))),
    ]
    for number, (name, parameters) in enumerate(functions.items()):
        before = _literal(f'\n{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": ')
        # Each schema is a document of its own, so that "#/$defs/..." in it still finds its definitions.
        schema = _json_text({**parameters, "x-guidance": _ONE_LINE}, f"parameters of tool {name!r}")
        rules += [
            f'call_{number}: {before} arguments_{number} "}}\\n" {closing}',
            f"arguments_{number}: %json {schema}",
        ]
    from llguidance import LLMatcher

    source = LLMatcher.grammar_from_lark(_checked("\n".join(rules), "list of tools", _LONGEST_TOOLS))
    return _CompiledGrammar(tokenizer, end_ids, source, "tools")


def _text_rules(tokenizer: Tokenizer, calls: str) -> list[str]:
    """Rules for: any text, or any text and then calls. Its `first` is the opening of the first call.

    The characters <tool_call> occur in such text only as that opening. Tokens that show in an answer although
    text cannot become them, such as <think>, may stand between its words.
    """
    words = f"/(?s:.+)/ & ~/(?s:.*){_OPENING}(?s:.*)/"
    signs = [
        token
        for text, token in tokenizer.special_tokens.items()
        if not tokenizer.is_special(token) and "tool_" not in text
    ]
    opening = tokenizer.special_tokens.get(_OPENING)
    return [
        f"start: {'(WORDS? sign)*' if signs else ''} (WORDS | {calls})?",
        *([f"sign: <{signs}>".replace(" ", "")] if signs else []),
        f"first[lazy]: /(?s:.*){_OPENING}/" if opening is None else f"first: WORDS? <[{opening}]>",
        f"WORDS: {words}",
    ]


def _functions(tools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Names of tools and the schemas of their arguments."""
    functions: dict[str, Mapping[str, Any]] = {}
    for number, tool in enumerate(tools):
        function = tool.get("function")
        function = function if isinstance(function, Mapping) else {}
        name = function.get("name")
        if not isinstance(name, str) or not name:
            raise JielongError(f'tool {number} has no name: expected {{"function": {{"name": ...}}}}')
        if name in functions:
            raise JielongError(f"two tools are named {name!r}")
        # Without parameters a function takes none (OpenAI's convention).
        parameters = function.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(parameters, Mapping):
            raise JielongError(f"the parameters of tool {name!r} must be a JSON schema, an object")
        if "properties" in parameters and _CLOSED_BY.isdisjoint(parameters):
            parameters = {**parameters, "additionalProperties": False}
        functions[name] = parameters
    if not functions:
        raise JielongError("there are no tools to call")
    return functions


def _tag(tokenizer: Tokenizer, text: str) -> str:
    """A tag in Lark: the tokenizer's own token if it has one, otherwise its characters."""
    token = tokenizer.special_tokens.get(text)
    return _literal(text) if token is None else f"<[{token}]>"


def _literal(text: str) -> str:
    """A string in Lark: as in JSON, with DEL written as an escape."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _json_text(schema: Mapping[str, Any], what: str) -> str:
    if not isinstance(schema, Mapping):
        raise JielongError(f"the {what} must be an object, not a {type(schema).__name__}")
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise JielongError(f"the {what} is not JSON: {error}") from None
    # "#/$defs/多" is no URI reference before it is percent-encoded, but people write it.
    return _checked(_REFERENCE.sub(lambda found: quote(found[0], safe=string.printable), text), what)


def _checked(source: str, what: str, most: int = _LONGEST_SOURCE) -> str:
    """The source, if it is short enough and valid Unicode."""
    try:
        length = len(source.encode())
    except UnicodeEncodeError:
        raise JielongError(f"the {what} is not valid Unicode: it holds half of a UTF-16 pair") from None
    if length > most:
        raise JielongError(f"the {what} is too long: {length} bytes, and at most {most} are read")
    return source


class _CompiledGrammar:
    """A grammar that llguidance has compiled for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, end_ids: Collection[int], source: str, what: str):
        self._vocabulary = tokenizer.vocab_size
        self._matcher = _compile(grammar_tokens(tokenizer, end_ids), source)
        try:
            self.begin()
        except JielongError as error:
            raise JielongError(f"the {what} cannot be used: {error}") from None

    def begin(self) -> "_CompiledGrammarState":
        return _CompiledGrammarState(self._matcher.deep_copy(), self._vocabulary)


class _CompiledGrammarState:
    """One answer's own copy of the parser.

    What may come next is worked out as soon as a token has come, so that a grammar that gets too complex on
    the way fails there and then, in `accept`.
    """

    def __init__(self, matcher: "LLMatcher", vocabulary: int):
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._allowed = self._mask()

    def allowed(self) -> Tensor:
        return self._allowed

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._allowed = self._mask()

    def _mask(self) -> Tensor:
        bits = self._matcher.compute_bitmask()
        # In an error llguidance gives the end tokens, as if the answer were whole.
        if self._matcher.is_error():
            raise JielongError(_short(self._matcher.get_error()))
        mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=self._vocabulary, bitorder="little")
        return torch.from_numpy(mask.view(np.bool_))


def _compile(tokens: "LLTokenizer", source: str) -> "LLMatcher":
    """Compile on a deep stack of its own.

    llguidance follows definitions that refer to one another by recursion: 3,000 `$ref`s in a row, a schema of
    100 kB, would run over an ordinary stack and end the whole process.
    """
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(
        max_grammar_size=_MOST_SYMBOLS, max_lexer_states=_MOST_STATES, verbose_errors=False
    )
    compiled: list[LLMatcher] = []
    thread = threading.Thread(
        target=lambda: compiled.append(LLMatcher(tokens, source, log_level=0, limits=limits))
    )
    usual = threading.stack_size(_STACK_BYTES)
    try:
        thread.start()
    finally:
        threading.stack_size(usual)
    thread.join()
    return compiled[0]


def _short(message: str) -> str:
    """A message of llguidance in one line: what it begins with, and the error that it then points at."""
    first, *more = message.strip().splitlines() or ["no reason given"]
    pointed = [line.removeprefix("error: ") for line in more if line.startswith("error: ")]
    line = " ".join([first.removesuffix(" regex parse error:"), *pointed])
    line = line.replace("NoExtensionBias", "no token can come next")
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
