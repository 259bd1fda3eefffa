"""Chat templates: messages -> text, together with what in that text is content and what is to be learned.

A template may come with a model from anywhere, so it runs in Jinja's immutable sandbox, and sees plain JSON
only. Two kinds of private marks travel through the rendering and are taken out of its result again:

- around what `{% generation %} ... {% endgeneration %}` encloses: the text the assistant has to learn;
- around every special token that somebody typed inside a message ("<|im_end|>"): it has to stay plain text.

The marks are characters that occur nowhere in the input, so nobody can forge one.
"""

import functools
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jielong.core.errors import JielongError

Message = Mapping[str, Any]
Span = tuple[int, int]

_MARKS = "jielong_generation_marks"
_GENERATION_TAG = re.compile(r"\{%-?\+?\s*generation\s*-?\+?%\}")
_THINKING = ("<think>", "</think>")
# transformers accepts the same three names for a message's reasoning and gives templates the first.
_REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A chat as text, with spans of characters in it (start included, end not)."""

    text: str
    learned: tuple[Span, ...]
    """What the assistant has to produce, its end of turn included; one span an assistant turn."""
    typed: tuple[Span, ...]
    """Special-token look-alikes that a person typed: plain text."""
    cuts: tuple[int, ...]
    """Places where a mark was left alone because the template cut a look-alike: no token may reach across."""

    def is_plain(self, start: int, end: int) -> bool:
        """Tell whether what looks like a special token at this span came out of a message."""
        return any(a < end and start < b for a, b in self.typed) or any(
            start < cut < end for cut in self.cuts
        )


class ChatTemplate:
    """A compiled Jinja chat template.

    Args:
        source: the template's text.
        variables: what the template sees besides messages: `bos_token`, `eos_token`, ...
    """

    def __init__(self, source: str, variables: Mapping[str, str]) -> None:
        self.source = source
        self._variables = dict(variables)
        self._environment = _make_environment()
        try:
            self._template = self._environment.from_string(source)
        except jinja2.TemplateError as error:
            raise JielongError(f"the chat template is not valid Jinja: {error}") from None
        self.has_generation_marks = _GENERATION_TAG.search(source) is not None

    @functools.cached_property
    def literal_text(self) -> str:
        """Every piece of text that the template itself can write, joined with null characters."""
        tree = self._environment.parse(self.source)
        texts = {node.data for node in tree.find_all(jinja2.nodes.TemplateData)}
        texts |= {node.value for node in tree.find_all(jinja2.nodes.Const) if isinstance(node.value, str)}
        return "\0".join(sorted(texts))

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """Render the chat as transformers' `apply_chat_template(tokenize=False)` does."""
        return self._render(_plain_messages(messages), _plain(tools), add_generation_prompt, ("", ""))

    def render_with_spans(
        self,
        messages: Sequence[Message],
        special_tokens: Sequence[str],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        end_of_turn: str | None = None,
    ) -> Rendered:
        """Render the chat and say which characters are learned and which special tokens were only typed.

        Args:
            messages: the chat.
            special_tokens: texts that must not become special tokens when they stand inside a message.
            tools: JSON schemas of the tools.
            add_generation_prompt: end with the opening of an assistant turn.
            end_of_turn: when given, `learned` is filled, for a template without generation marks by
                rendering prefixes of the chat up to this token.
        """
        chat, plain_tools = _plain_messages(messages), _plain(tools)
        marks = _unused_characters(json.dumps([chat, plain_tools], ensure_ascii=False) + self.source, 4)
        typed_marks, learned_marks = (marks[0], marks[1]), (marks[2], marks[3])
        chat = [_mark_message(message, special_tokens, typed_marks) for message in chat]
        plain_tools = _mark_typed_tokens(plain_tools, special_tokens, typed_marks)
        marked = self._render(chat, plain_tools, add_generation_prompt, learned_marks)
        if end_of_turn is not None and not self.has_generation_marks:
            spans = self._spans_by_prefix(chat, plain_tools, marked, typed_marks[0], end_of_turn)
            marked = _insert_marks(marked, spans, learned_marks)
        return _take_marks_out(marked, special_tokens, typed_marks, learned_marks)

    def _render(self, chat: Any, tools: Any, add_generation_prompt: bool, marks: tuple[str, str]) -> str:
        try:
            return self._template.render(
                **self._variables,
                messages=chat,
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **{_MARKS: marks},
            )
        except jinja2.TemplateError as error:
            raise JielongError(f"the chat template refuses this chat: {error}") from None
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            raise JielongError(
                f"the chat template fails on this chat ({type(error).__name__}: {error}); "
                "check that every message has a role and a text as its content"
            ) from None

    def _spans_by_prefix(
        self, chat: list[Any], tools: Any, full: str, typed_mark: str, end_of_turn: str
    ) -> list[Span]:
        """Find the assistant's turns by rendering the chat up to each of them.

        A turn starts where the chat before it, rendered with the generation prompt, ends. It ends where the
        chat up to it ends or, when the template writes older turns differently (Qwen3 drops their
        thinking), at the first end-of-turn token that the template itself wrote.
        """
        end_token = re.compile(f"(?<!{re.escape(typed_mark)}){re.escape(end_of_turn)}")
        spans = []
        for index, message in enumerate(chat):
            if message.get("role") != "assistant" or index == 0:
                continue
            before = self._render(chat[:index], tools, True, ("", ""))
            if not full.startswith(before):
                raise JielongError(
                    "cannot tell which tokens the assistant has to learn: the chat template has no "
                    "{% generation %} marks and renders a chat's beginning differently when it goes on; "
                    "add the marks to chat_template.jinja"
                )
            start = len(before)
            up_to = self._render(chat[: index + 1], tools, False, ("", ""))
            end = len(up_to) if len(up_to) > start and full.startswith(up_to) else None
            ends = [match.end() for match in end_token.finditer(full, start, end or len(full))]
            if end is None:
                end = ends[0] if ends else start
            elif ends:
                end = ends[-1]
            spans.append((start, end))
        return spans


def _make_environment() -> ImmutableSandboxedEnvironment:
    """The functions and filters that transformers gives to templates, and no others."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}`: puts marks around what the assistant has to learn."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own declaration)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_enclose"), [], [], body).set_lineno(line)

    @jinja2.pass_context
    def _enclose(self, context: jinja2.runtime.Context, caller: jinja2.runtime.Macro) -> str:
        start, end = context.resolve(_MARKS)
        return f"{start}{caller()}{end}"


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes <, > and & for HTML.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _plain_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Copy messages as transformers does before it renders: without nulls, reasoning under its usual name."""
    if isinstance(messages, str | Mapping) or not messages:
        raise JielongError("a chat must be a list of one or more messages, each with a role and a content")
    chat = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise JielongError(f"a chat message must be a mapping with a role, not {type(message).__name__}")
        copy = {key: _plain(value) for key, value in message.items() if value is not None}
        reasoning = next((copy[name] for name in _REASONING_NAMES if name in copy), None)
        if reasoning is not None:
            copy = {"thinking": reasoning, **copy, "reasoning_content": reasoning}
        chat.append(copy)
    return chat


def _plain(value: Any) -> Any:
    """Rebuild a value out of JSON types, so that a template gets no object with methods of its own."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise JielongError(f"a chat holds JSON values only, not {type(value).__name__}")


def _unused_characters(text: str, count: int) -> list[str]:
    """Take characters of Unicode's private use areas that the text has not (nor as JSON escapes)."""
    found: list[str] = []
    lower = text.lower()
    for code in itertools.chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE)):
        if chr(code) not in text and f"\\u{code:04x}" not in lower:
            found.append(chr(code))
            if len(found) == count:
                return found
    raise JielongError("this chat uses every private character of Unicode; it cannot be rendered safely")


def _mark_message(
    message: dict[str, Any], special_tokens: Sequence[str], marks: tuple[str, str]
) -> dict[str, Any]:
    marked: dict[str, Any] = _mark_typed_tokens(message, special_tokens, marks)
    if message.get("role") == "assistant" and "content" in message:
        # Models and data sets write an assistant's reasoning into its text, and templates read it there.
        others = [token for token in special_tokens if token not in _THINKING]
        marked["content"] = _mark_typed_tokens(message["content"], others, marks)
    return marked


def _mark_typed_tokens(value: Any, special_tokens: Sequence[str], marks: tuple[str, str]) -> Any:
    """Put marks around each special token's text in every string of a JSON value."""
    if not special_tokens:
        return value
    pattern = _any_of(special_tokens)

    def mark(item: Any) -> Any:
        if isinstance(item, str):
            return pattern.sub(lambda match: f"{marks[0]}{match[0]}{marks[1]}", item)
        if isinstance(item, dict):
            return {mark(key): mark(inner) for key, inner in item.items()}
        if isinstance(item, list):
            return [mark(inner) for inner in item]
        return item

    return mark(value)


@functools.lru_cache(maxsize=64)
def _any_of_cached(texts: tuple[str, ...]) -> re.Pattern[str]:
    # Longest first: a token wins over the shorter ones it begins with.
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)))


def _any_of(texts: Sequence[str]) -> re.Pattern[str]:
    return _any_of_cached(tuple(texts))


def _insert_marks(text: str, spans: Sequence[Span], marks: tuple[str, str]) -> str:
    pieces, position = [], 0
    for start, end in spans:
        pieces += [text[position:start], marks[0], text[start:end], marks[1]]
        position = end
    return "".join([*pieces, text[position:]])


def _take_marks_out(
    marked: str, special_tokens: Sequence[str], typed_marks: tuple[str, str], learned_marks: tuple[str, str]
) -> Rendered:
    # A template that writes JSON in ASCII turns a mark into its escape.
    for mark in typed_marks:
        marked = marked.replace(json.dumps(mark)[1:-1], mark)
    pieces: list[str] = []
    learned: list[Span] = []
    typed: list[Span] = []
    cuts: list[int] = []
    position, start = 0, 0
    for piece, kind in _pieces(marked, special_tokens, typed_marks, learned_marks):
        if kind == "typed":
            typed.append((position, position + len(piece)))
        elif kind == "cut":
            cuts.append(position)
        elif kind == "start":
            start = position
        elif kind == "end":
            learned.append((start, position))
        pieces.append(piece)
        position += len(piece)
    return Rendered("".join(pieces), tuple(learned), tuple(typed), tuple(cuts))


def _pieces(
    marked: str, special_tokens: Sequence[str], typed_marks: tuple[str, str], learned_marks: tuple[str, str]
) -> Iterator[tuple[str, str]]:
    """Cut marked text into (text, kind): plain text, typed tokens, and empty texts for the other marks."""
    lone = "".join((*typed_marks, *learned_marks))
    token = _any_of(special_tokens).pattern if special_tokens else "(?!)"
    kinds = {typed_marks[0]: "cut", typed_marks[1]: "cut", learned_marks[0]: "start", learned_marks[1]: "end"}
    position = 0
    for match in re.finditer(f"{typed_marks[0]}({token}){typed_marks[1]}|[{lone}]", marked):
        yield marked[position : match.start()], "text"
        if match[1] is not None:
            yield match[1], "typed"
        else:
            yield "", kinds[match[0]]
        position = match.end()
    yield marked[position:], "text"
