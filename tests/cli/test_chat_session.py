"""The terminal chat, run as a person or a pipe runs it: in a process of its own, with a real tiny model."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from jielong.cli.chat_texts import CHINESE, ENGLISH, chat_texts
from jielong.cli.die_view import bar, die_table, readable_token
from jielong.cli.manners import printable
from jielong.core.errors import UsageError
from jielong.generation import ChatSession, SamplingSettings, load_engine
from jielong.models import Transformer, qwen3_config, save_model
from jielong.tokenizer import train_tokenizer

MAIN = "import sys; from pathlib import Path; from jielong.cli.chat_session import run_chat; "
SETTINGS = {"max_tokens": 12, "temperature": 1.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chat") / "tiny"
    texts = ["台灣最高的山是玉山。高雄舊稱打狗。", "The highest mountain is Yushan.", "你好！🙂"]
    tokenizer = train_tokenizer(iter(texts * 4), 330)
    config = replace(qwen3_config(64, 2, tokenizer.vocab_size, 4096), initializer_range=0.15)
    model = Transformer(config, seed=1)
    with torch.no_grad():  # a logit of 0 is never the largest: greedily, no answer ends by itself
        model.embed.weight[tokenizer.eos_id] = 0
    save_model(model, path, eos_id=tokenizer.eos_id)
    tokenizer.save(path)
    return path


def command(folder: Path, lang: str, settings: dict[str, float]) -> list[str]:
    call = f"run_chat(Path(sys.argv[1]), {settings!r}, lang={lang!r})"
    return [sys.executable, "-c", MAIN + call, str(folder)]


def piped(folder: Path, lines: list[str], lang: str = "en") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, lang, SETTINGS),
        input="\n".join(lines),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
        env=os.environ | {"PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
    )


def test_lines_in_answers_out(folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "chat.json"
    run = piped(
        folder, ["你好", "/system 你是小金", "//x", "", f"/save {saved}", "/reset", f"/save {saved}x", "/no"]
    )
    session = ChatSession(load_engine(folder), SamplingSettings.parse(SETTINGS))
    list(session.ask("你好"))
    session.system = "你是小金"
    list(session.ask("/x"))
    assert json.loads(saved.read_text(encoding="utf-8")) == {"messages": session.messages}
    assert json.loads(Path(f"{saved}x").read_text(encoding="utf-8"))["messages"] == session.messages[:1]
    answers = [turn["content"] for turn in session.turns if turn["role"] == "assistant"]
    assert run.stdout == "".join(printable(answer) + "\n" for answer in answers)
    for notice in (ENGLISH.system_set, ENGLISH.reset, ENGLISH.unknown_command.format(command="/no")):
        assert notice in run.stderr


def test_a_file_of_someone_else_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    run = piped(
        folder, ["hi", f"/save {tmp_path / 'mine'}", f"/save {tmp_path / 'new'}", f"/save {tmp_path / 'new'}"]
    )
    assert (tmp_path / "mine").read_text() == "precious"
    assert run.stderr.count("saved in") == 2


def test_dice_show_every_roll(folder: Path) -> None:
    run = piped(folder, ["/dice", "山", "/dice", "/dice 3", "/dice many"], lang="zh-TW")
    assert CHINESE.no_answer in run.stderr
    assert CHINESE.dice_usage in run.stderr
    marked = [line.split() for line in run.stdout.splitlines() if "▶" in line]
    assert len(marked) == 12 + 3
    assert marked[-3:] == marked[9:12]


def test_a_message_too_long_is_refused_and_the_chat_goes_on(folder: Path) -> None:
    run = piped(folder, ["🐉" * 4096, "hi"], lang="zh-TW")
    assert "這則訊息放不下" in run.stderr
    assert run.stdout.strip()


@pytest.mark.parametrize(("name", "value"), [("temperature", -1), ("temprature", 1)])
def test_a_wrong_setting_is_a_usage_error(folder: Path, name: str, value: float) -> None:
    from jielong.cli.chat_session import run_chat

    with pytest.raises(UsageError, match="temperature"):
        run_chat(folder, {name: value})


def test_die_columns_align_whatever_the_script(folder: Path) -> None:
    engine = load_engine(folder)
    session = ChatSession(engine, SamplingSettings(max_tokens=40, temperature=2.5))
    answer = session.ask("山")
    list(answer)
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(die_table(answer.steps, 1, engine.tokenizer, ENGLISH))
    lines = console.export_text().rstrip("\n").splitlines()[1:]
    assert len(lines) > 40
    assert len({cell_len(line.rstrip()) for line in lines}) == 1
    assert all(line.rstrip().endswith("%") for line in lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [(" a", "␣a"), ("\n", "⏎"), ("玉", "玉"), ("\x1b", "⟨U+001B⟩"), ("<|im_end|>", "<|im_end|>")],
)
def test_tokens_are_readable(folder: Path, text: str, shown: str) -> None:
    tokenizer = load_engine(folder).tokenizer
    ids = tokenizer.encode(text, special=True)
    assert "".join(readable_token(tokenizer, token) for token in ids) in (
        shown,
        "".join(f"⟨{byte:02X}⟩" for byte in text.encode()),
    )
    lone = tokenizer.encode("🐉")[0]
    assert re.fullmatch(r"⟨[0-9A-F ]+⟩", readable_token(tokenizer, lone))


def test_bars_grow_with_the_probability() -> None:
    lengths = [cell_len(bar(step / 200)) for step in range(201)]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[1], lengths[-1]) == (0, 1, 20)


def test_language_follows_the_locale() -> None:
    assert chat_texts(None, {"LANG": "zh_TW.UTF-8"}) is CHINESE
    assert chat_texts(None, {"LANG": "zh_TW.UTF-8", "LC_ALL": "en_US.UTF-8"}) is ENGLISH
    assert chat_texts(None, {}) is ENGLISH
    assert chat_texts("zh", {"LANG": "en_US"}) is CHINESE
    with pytest.raises(UsageError, match="'fr'"):
        chat_texts("fr")


def test_both_languages_fill_the_same_blanks() -> None:
    for name in set(ENGLISH.__slots__) - {"units"}:
        blanks = [set(re.findall(r"{(\w+)}", getattr(texts, name))) for texts in (ENGLISH, CHINESE)]
        assert blanks[0] == blanks[1]


class Terminal:
    """A pseudo-terminal with the chat in it."""

    def __init__(self, arguments: list[str]):
        self.parent, child = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30", "PYTHONUTF8": "1"}
        environment["PROMPT_TOOLKIT_NO_CPR"] = "1"  # this terminal does not say where its cursor is
        self.process = subprocess.Popen(
            arguments, stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
        )
        os.close(child)
        self.unread = b""

    def type(self, text: str) -> None:
        os.write(self.parent, text.encode())

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Read until the text appears; what came after it is kept for the next call."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.unread.decode(errors="replace"))
            if text in plain:
                self.unread = plain.partition(text)[2].encode()
                return
            if select.select([self.parent], [], [], 0.1)[0]:
                self.unread += os.read(self.parent, 65536)
        raise AssertionError(f"{text!r} did not appear; there was {self.unread.decode(errors='replace')!r}")


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    endless = {"max_tokens": 4000, "temperature": 0}
    terminal = Terminal(command(folder, "en", endless))
    yield terminal
    terminal.process.kill()
    terminal.process.wait()
    os.close(terminal.parent)


def test_ctrl_c_stops_the_answer_and_ctrl_d_leaves(terminal: Terminal) -> None:
    terminal.wait_for("you ›")
    terminal.type("hello\r")
    terminal.wait_for("tiny ›")
    time.sleep(0.5)
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for(ENGLISH.stopped)
    terminal.wait_for("you ›")
    terminal.type("/dice 2\r")
    terminal.wait_for("▶")
    terminal.wait_for("you ›")
    terminal.type("\x03")
    terminal.wait_for(ENGLISH.press_ctrl_d)
    terminal.wait_for("you ›")
    terminal.type("\x04")
    terminal.wait_for(ENGLISH.leaving)
    assert terminal.process.wait(20) == 0
