"""Chat templates as Ollama writes them: Go's text/template instead of Jinja.

A chat template of plain turns (text before and after each message, by its role) is found by rendering chats
of marks and looking at what stands between them; what was found is tried on another chat before it is used.
Jielong's own template has tools as well and is kept as a file beside this one.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jielong.core.errors import JielongError
from jielong.export.gguf_vocabulary import begins_with_bos
from jielong.tokenizer import Tokenizer, read_chat_template

_MARKS = {"system": "\ue000", "user": "\ue001", "assistant": "\ue002"}


@dataclass(frozen=True, slots=True)
class Turns:
    """What a chat template writes around messages.

    Attributes:
        without_system: what a chat without a system text begins with.
        system: text before and after a system text, which stands first.
        user: text before and after a user's message.
        assistant: text before and after an answer; the former is also where the model goes on.
    """

    without_system: str
    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A chat as text, up to where the model goes on."""
        around = {"system": self.system, "user": self.user, "assistant": self.assistant}
        texts = [
            around[message["role"]][0] + message["content"] + around[message["role"]][1]
            for message in messages
        ]
        start = "" if messages[0]["role"] == "system" else self.without_system
        return start + "".join(texts) + self.assistant[0]

    def without_bos(self, bos: str) -> "Turns":
        """The same turns where the program that reads them puts BOS in front by itself."""
        before, after = self.system
        return replace(
            self,
            without_system=self.without_system.removeprefix(bos),
            system=(before.removeprefix(bos), after),
        )


def go_template(tokenizer: Tokenizer, where: str) -> str:
    """The template for a Modelfile; `where` names the model in errors.

    Raises:
        JielongError: the model's template does more than to put text around messages.
    """
    if tokenizer.chat_template is None:
        return "{{ .Prompt }}"
    if tokenizer.chat_template == read_chat_template():
        return Path(__file__).with_name("chat_template.gotmpl").read_text(encoding="utf-8")
    turns = find_turns(tokenizer, where)
    if begins_with_bos(tokenizer):
        turns = turns.without_bos(tokenizer.token_bytes(tokenizer.bos_id).decode())
    return write_turns(turns)


def write_turns(turns: Turns) -> str:
    """Turns in Go's template language, with every text as a quoted constant."""
    before, after = turns.system
    system = f"{_text(before)}{{{{ .System }}}}{_text(after)}"
    roles = "".join(
        f"{{{{ if eq .Role {_go(role)} }}}}{_text(before)}{{{{ .Content }}}}{_text(after)}{{{{ end }}}}"
        for role, (before, after) in (("user", turns.user), ("assistant", turns.assistant))
    )
    return (
        f"{{{{ if .System }}}}{system}{{{{ else }}}}{_text(turns.without_system)}{{{{ end }}}}"
        f"{{{{ range .Messages }}}}{roles}{{{{ end }}}}{_text(turns.assistant[0])}"
    )


def _text(text: str) -> str:
    return f"{{{{ {_go(text)} }}}}" if text else ""


def _go(text: str) -> str:
    """A string constant of Go. Ollama drops characters of a Modelfile that do not print, such as U+3000."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    return (
        '"'
        + "".join(escapes.get(char, char if " " <= char <= "~" else f"\\U{ord(char):08x}") for char in text)
        + '"'
    )


def find_turns(tokenizer: Tokenizer, where: str) -> Turns:
    """Take a chat template apart into what it writes around messages, and try that on other chats.

    Raises:
        JielongError: the template does more than that.
    """
    try:
        turns = _guess(tokenizer)
        for roles in ("user", "system user", "system user assistant user assistant user"):
            chat = [
                {"role": role, "content": f" text {number}\n"} for number, role in enumerate(roles.split())
            ]
            if turns.render(chat) != tokenizer.render_chat(chat, add_generation_prompt=True):
                raise JielongError("messages change on the way or turns differ by their place")
    except JielongError as error:
        raise JielongError(
            f"{where}: the chat template cannot be written in Ollama's language ({error}); "
            "use `jielong export gguf`, and write the Modelfile by hand"
        ) from None
    return turns


def _guess(tokenizer: Tokenizer) -> Turns:
    """Read the turns off two chats whose messages are marks."""

    def pieces(*roles: str) -> list[str]:
        chat = [{"role": role, "content": _MARKS[role]} for role in roles]
        text = tokenizer.render_chat(chat, add_generation_prompt=True)
        found = re.split("|".join(_MARKS.values()), text)
        if len(found) != len(roles) + 1:
            raise JielongError("it does not write every message once")
        return found

    first, _, between, opening = pieces("user", "assistant", "user")
    before_system, after_system, _ = pieces("system", "user")
    # Between an answer and the next question stands the end of the one and the beginning of the other; what
    # is also at the beginning of a chat is the latter.
    before_user = _common_end(first, between)
    return Turns(
        first.removesuffix(before_user),
        (before_system, after_system.removesuffix(before_user)),
        (before_user, ""),
        (opening, between.removesuffix(before_user)),
    )


def _common_end(first: str, second: str) -> str:
    """The longest text with which both end."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)
    return first[len(first) - len(list(same)) :]
