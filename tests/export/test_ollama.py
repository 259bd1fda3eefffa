"""The folder for Ollama: Modelfile, stop tokens, sampling, and chat templates in Go's language."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from exported_models import make_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.core.errors import JielongError
from jielong.export import write_ollama_folder
from jielong.export.go_template import find_turns, go_template
from jielong.export.ollama import modelfile_text
from jielong.tokenizer import read_chat_template

DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "chat": read_chat_template(),
    "plain": read_chat_template("plain_chat"),
    "default": DEFAULT_SYSTEM,
}
CONTENT = st.text(st.characters(exclude_categories=("Cs", "Co")), max_size=20)


@st.composite
def chats(draw):
    """An optional system text, then questions and answers, and a question last."""
    roles = [*["system"][: draw(st.integers(0, 1))], *["user", "assistant"] * draw(st.integers(0, 3)), "user"]
    return [{"role": role, "content": draw(CONTENT)} for role in roles]


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=25)
@given(chat=chats())
def test_turns_that_were_found_render_every_chat_as_the_template_does(name, chat, tokenizer):
    # Our own template strips newlines at an answer's ends and reads thoughts out of it.
    chat = [{**m, "content": "x" + m["content"].replace("</think>", "")} for m in chat]
    other = tokenizer.with_chat_template(TEMPLATES[name])
    assert find_turns(other, "m").render(chat) == other.render_chat(chat, add_generation_prompt=True)


def test_a_template_that_does_more_is_refused_in_one_line(tokenizer):
    other = tokenizer.with_chat_template(DEFAULT_SYSTEM.replace("m.content", "m.content | upper"))
    with pytest.raises(JielongError, match="the-model: the chat template") as caught:
        go_template(other, "the-model")
    assert "\n" not in str(caught.value)


def test_modelfile_states_every_default_of_the_model(folders, tokenizer, tmp_path):
    made = write_ollama_folder(folders["qwen3"], tmp_path / "out", "q8_0")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Modelfile", "model.gguf"]
    text = (tmp_path / "out" / "Modelfile").read_text()
    assert text.startswith('FROM ./model.gguf\nTEMPLATE """')
    parameters = [line.split(" ", 2)[1:] for line in text.splitlines() if line.startswith("PARAMETER ")]
    assert parameters == [
        ["stop", '"<|im_end|>"'],
        ["temperature", "0.7"],
        ["top_k", "0"],
        ["top_p", "0.95"],
        ["min_p", "0.0"],
        ["repeat_penalty", "1.0"],
        ["num_predict", "40"],
        ["num_ctx", "96"],
    ]
    assert made["next"] == f"ollama create qwen3 -f {tmp_path / 'out' / 'Modelfile'}"
    # Again into the same folder is fine; into a folder with other things it is not.
    write_ollama_folder(folders["qwen3"], tmp_path / "out")
    (tmp_path / "mine").mkdir()
    with pytest.raises(JielongError, match="mine"):
        write_ollama_folder(folders["qwen3"], tmp_path / "mine")


def test_texts_in_a_modelfile_survive_ollamas_reader(tokenizer, tmp_path):
    """Ollama drops characters that do not print and reads no escapes outside of templates."""
    template = '{% for m in messages %}{{ m.role }}　"\\：\n{{ m.content }}😀\u200b{% endfor %}'
    template += '{% if add_generation_prompt %}assistant　"\\：\n{% endif %}'
    folder = make_folder(tmp_path / "m", tokenizer.with_chat_template(template), "qwen3")
    text = modelfile_text(folder)
    assert all(char == "\n" or " " <= char <= "~" for char in text)
    assert r"\U0001f600" in text
    assert r"\U00003000" in text


GO = shutil.which("go")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds.",
            "parameters": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
        },
    }
]
CALLS = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
AGENT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1+2 and 3+4?"},
    {"role": "assistant", "content": "", "tool_calls": CALLS * 2},
    {"role": "tool", "content": "3"},
    {"role": "tool", "content": "7"},
    {"role": "assistant", "content": "3 and 7. Once more.", "tool_calls": CALLS},
    {"role": "tool", "content": "3"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "謝謝 {{ .System }} <b>&\"'"},
]
CASES = [(AGENT[-1:], None), (AGENT[:2], None), (AGENT[:1] + AGENT[-2:], None), (AGENT, None), (AGENT, TOOLS)]


@pytest.mark.skipif(GO is None, reason="Go is not installed; it runs Ollama's template language")
@pytest.mark.parametrize("name", TEMPLATES)
def test_go_renders_what_jinja_renders(name, tokenizer, tmp_path):
    other = tokenizer.with_chat_template(TEMPLATES[name])
    cases = CASES if name == "chat" else CASES[:2]
    asked = {
        "template": go_template(other, "m"),
        "chats": [{"messages": messages, "tools": tools} for messages, tools in cases],
    }
    program = Path(__file__).with_name("render_template.go")
    done = subprocess.run(
        [GO, "run", program], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    for (messages, tools), text in zip(cases, json.loads(done.stdout), strict=True):
        # Go writes JSON without spaces; the words are the same.
        wanted = other.render_chat(messages, tools=tools, add_generation_prompt=True)
        for value in [*(tools or []), CALLS[0]["function"]["arguments"]]:
            wanted = wanted.replace(json.dumps(value), json.dumps(value, separators=(",", ":")))
        assert text == wanted
