"""The terminal chat: type, watch the answer come, and look at the dice it was rolled with."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.console import Console

from jielong.cli.chat_texts import ChatTexts, chat_texts
from jielong.cli.die_view import die_table
from jielong.cli.manners import printable
from jielong.core.errors import JielongError
from jielong.core.files import to_json, write_atomically
from jielong.feedback.reward_model import RewardModel
from jielong.generation import (
    ChatSession,
    Engine,
    MessageTooLongError,
    SamplingSettings,
    load_engine,
)
from jielong.models import count_parameters

# Tokens that /dice shows when it is not told how many.
_DICE_SHOWN = 16


def run_chat(
    folder: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    system: str | None = None,
    lang: str | None = None,
    drafting: Path | Literal["lookup"] | None = None,
    teacher: Path | None = None,
    samples: int = 1,
) -> None:
    """Talk with a model in the terminal until the user leaves.

    With a terminal at both ends there is line editing, history and colour; otherwise every line of standard
    input is a message, answers go to standard output and notices to standard error.

    Args:
        folder: the model folder.
        overrides: sampling settings that differ from the model folder's defaults.
        system: instructions that precede the conversation.
        lang: `zh` (or `zh-TW`) or `en`; None follows the locale.
        drafting: who guesses ahead, as `load_engine` takes it.
        teacher: folder of a reward model that chooses among several answers.
        samples: how many.

    Raises:
        JielongError: if the folder cannot be loaded, or its tokenizer cannot chat.
        UsageError: if a setting is unknown or out of range.
    """
    texts = chat_texts(lang)
    defaults = SamplingSettings.from_folder(folder)
    settings = SamplingSettings.parse({**defaults.model_dump(), **(overrides or {})})
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=True)
    with console.status(texts.loading.format(folder=folder)) if interactive else contextlib.nullcontext():
        engine = load_engine(folder, drafting=drafting)
        engine.tokenizer.encode_chat([{"role": "user", "content": ""}], add_generation_prompt=True)
        liked = RewardModel.load(teacher) if teacher is not None else None
    session = ChatSession(engine, settings, system, liked, samples)
    chat = TerminalChat(engine, session, texts, folder, console, interactive)
    chat.run()


class TerminalChat:
    """The loop around a ChatSession: reads lines, runs commands, prints answers."""

    def __init__(
        self,
        engine: Engine,
        session: ChatSession,
        texts: ChatTexts,
        folder: Path,
        console: Console,
        interactive: bool,
    ):
        self._engine = engine
        self._session = session
        self._texts = texts
        self._name = _name_of(folder)
        self._console = console
        self._notices = console if interactive else Console(highlight=False, soft_wrap=True, stderr=True)
        self._interactive = interactive
        self._saved: set[Path] = set()
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": self._help,
            "/reset": self._reset,
            "/system": self._system,
            "/save": self._save,
            "/dice": self._dice,
            "/why": self._why,
        }

    def run(self) -> None:
        """Read and answer until the end of the input or /exit."""
        if self._interactive:
            self._welcome()
        for line in self._lines():
            text = line.strip()
            if text in ("/exit", "/quit"):
                break
            if text.startswith("/") and not text.startswith("//"):
                self._command(text)
            elif text:
                self._answer(text.removeprefix("/") if text.startswith("//") else text)
        if self._interactive:
            self._say(self._texts.leaving)

    def _welcome(self) -> None:
        config = self._engine.model.config
        welcome = self._texts.welcome.format(
            name=self._name,
            parameters=_short_count(count_parameters(config), self._texts.units),
            context=config.max_position_embeddings,
        )
        self._console.print(welcome, style="bold", markup=False)
        self._say(self._texts.hint)

    def _lines(self) -> Iterator[str]:
        if not self._interactive:
            yield from sys.stdin
            return
        prompt = PromptSession[str](key_bindings=_new_line_key())
        label = FormattedText([("bold ansigreen", f"\n{self._texts.you} › ")])
        while True:
            try:
                yield prompt.prompt(label)
            except KeyboardInterrupt:
                self._say(self._texts.press_ctrl_d)
            except EOFError:
                return

    def _answer(self, text: str) -> None:
        try:
            answer = self._session.ask(text)
        except MessageTooLongError as error:
            self._say(
                self._texts.too_long.format(tokens=error.tokens, context=error.context, room=error.room),
                problem=True,
            )
            return
        except JielongError as error:
            self._say(str(error), problem=True)
            return
        if answer.dropped_turns:
            self._say(self._texts.dropped.format(count=answer.dropped_turns))
        if self._interactive:
            self._console.print(f"{self._name} › ", style="bold cyan", end="", markup=False)
        stopped = False
        try:
            for step in answer:
                self._console.out(printable(step.text), end="", highlight=False)
        except KeyboardInterrupt:
            stopped = True
        answer.close()
        self._console.out("", highlight=False)
        if stopped:
            self._say(self._texts.stopped)
        elif answer.finish_reason == "length":
            self._say(self._texts.cut.format(count=len(answer.steps)))

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        command = self._commands.get(name)
        if command is None:
            self._say(self._texts.unknown_command.format(command=name), problem=True)
            return
        try:
            command(rest.strip())
        except JielongError as error:
            self._say(str(error), problem=True)

    def _help(self, _: str) -> None:
        self._say(self._texts.help)

    def _reset(self, _: str) -> None:
        self._session.reset()
        self._say(self._texts.reset)

    def _system(self, text: str) -> None:
        if not text:
            system = self._session.system
            self._say(self._texts.system_is.format(text=system) if system else self._texts.system_none)
        elif text == "-":
            self._session.system = None
            self._say(self._texts.system_cleared)
        else:
            self._session.system = text
            self._say(self._texts.system_set)

    def _save(self, name: str) -> None:
        if not name:
            self._say(self._texts.save_usage, problem=True)
            return
        path = Path(name).expanduser()
        if path.exists() and path.resolve() not in self._saved:
            self._say(self._texts.save_exists.format(file=path), problem=True)
            return
        messages = self._session.messages
        write_atomically(path, to_json({"messages": messages}))
        self._saved.add(path.resolve())
        self._say(self._texts.saved.format(count=len(messages), file=path))

    def _dice(self, count: str) -> None:
        answer = self._session.last_answer
        if answer is None or not answer.steps:
            self._say(self._texts.no_answer)
            return
        if count and not (count.isascii() and count.isdigit() and int(count) > 0):
            self._say(self._texts.dice_usage, problem=True)
            return
        steps = answer.steps
        shown = min(int(count) if count else _DICE_SHOWN, len(steps))
        self._say(self._texts.dice_title)
        table = die_table(steps[-shown:], len(steps) - shown + 1, self._engine.tokenizer, self._texts)
        self._console.print(table, soft_wrap=False)
        if shown < len(steps):
            self._say(self._texts.dice_rest.format(shown=shown, count=len(steps)))

    def _why(self, _: str) -> None:
        answer = self._session.last_answer
        if answer is None or not answer.candidates:
            self._say(self._texts.why_none)
            return
        self._say(self._texts.why_title.format(count=len(answer.candidates)))
        for candidate in answer.candidates:
            self._console.print(f"{candidate.score:+7.2f}  {printable(candidate.text)}", markup=False)

    def _say(self, text: str, problem: bool = False) -> None:
        self._notices.print(text, style="yellow" if problem else "dim", markup=False)


def _new_line_key() -> KeyBindings:
    """Alt+Enter starts a new line; Enter alone sends. Pasted lines stay together."""
    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _name_of(folder: Path) -> str:
    """What to call a model: its folder, or the run when the folder is a run's `model`."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name


def _short_count(number: int, units: tuple[tuple[int, str], ...]) -> str:
    """A count of weights as people say it: 3.7 M, 370 萬."""
    for size, unit in units:
        if number >= size:
            value = number / size
            return f"{value:,.0f}{unit}" if value >= 100 else f"{value:.3g}{unit}"
    return str(number)
