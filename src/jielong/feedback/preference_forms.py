r"""The forms in which preferences are published, each turned into a record of one of four kinds.

| form | columns | becomes | known from |
|---|---|---|---|
| OpenAI | input: {messages, tools?}, preferred_output, non_preferred_output | pair | OpenAI's DPO |
| steps | prompt, completions or steps, labels | steps | TRL, PRM800K |
| first mistake | input, steps, mistake_index | steps | BIG-Bench Mistake |
| ranking | prompt, completions (best first), perhaps scores | ranking | InstructGPT; `jielong rollouts` |
| pair | prompt, chosen, rejected | pair | TRL |
| Alpaca pair | instruction, input?, chosen, rejected | pair | LLaMA-Factory |
| ShareGPT pair | conversations, chosen, rejected | pair | LLaMA-Factory |
| whole pair | chosen, rejected with a common beginning | pair | TRL; hh-rlhf's "\n\nHuman: ..." |
| thumb | prompt, completion, label | thumb | TRL; KTO |
| chat thumb | messages or conversations, label or kto_tag | thumb | LLaMA-Factory |

A prompt or completion is a text or a list of messages. Pairs may have a `margin` (a number) and a `tie` (a
bool); every form may have `system` and `tools`.
"""

import re
from collections.abc import Callable
from typing import Any

from jielong.data.conversation_forms import (
    FormError,
    asked_of,
    conversations_of,
    list_of,
    message_of,
    system_of,
    tools_of,
    turn_of,
)
from jielong.data.conversations import check_turns, clean_texts, metadata_of
from jielong.feedback.records import Message, Pair, Ranking, Record, Steps, Thumb

Row = dict[str, Any]
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}


def record_of(row: Row, identity: str) -> Record:
    """Detect a row's form and make its record.

    Raises:
        FormError: the row has none of the forms, or is broken.
    """
    for columns, read in _FORMS:
        if all(row.get(column) is not None for column in columns):
            return read(clean_texts(row), identity)
    raise FormError(f"row is no preference (its columns: {', '.join(map(str, row)) or 'none'})")


def _openai(row: Row, identity: str) -> Record:
    given = row["input"]
    if not isinstance(given, dict):
        raise FormError("input is not an object with messages")
    sides = {"chosen": row["preferred_output"], "rejected": row["non_preferred_output"]}
    return _pair(row | sides | {"tools": given.get("tools")}, identity, _messages(given.get("messages")))


def _prompted_pair(row: Row, identity: str) -> Record:
    return _pair(row, identity, _prompt(row))


def _alpaca_pair(row: Row, identity: str) -> Record:
    asked = asked_of(row["instruction"], row.get("input") or "")
    return _pair(row, identity, [*system_of(row), asked])


def _sharegpt_pair(row: Row, identity: str) -> Record:
    return _pair(row, identity, [*system_of(row), *_messages(row["conversations"])])


def _whole_pair(row: Row, identity: str) -> Record:
    """The prompt is what both begin with, in whole turns where there are turns."""
    sides = [_dialogue(row[column]) for column in ("chosen", "rejected")]
    if all(isinstance(side, str) for side in sides):
        prompt, sides = _split_texts(*sides)
    else:
        sides = [_messages(side) for side in sides]
        same = [a == b for a, b in zip(*sides, strict=False)]
        common = same.index(False) if False in same else len(same)
        prompt, sides = sides[0][:common], [side[common:] for side in sides]
    if not prompt:
        raise FormError("chosen and rejected have no common beginning, and there is no prompt")
    return _pair(row | {"chosen": sides[0], "rejected": sides[1]}, identity, [*system_of(row), *prompt])


def _ranking(row: Row, identity: str) -> Record:
    prompt = _prompt(row)
    completions = tuple(_completion(prompt, side) for side in list_of(row["completions"]))
    if len(completions) < 2:
        raise FormError("ranking of fewer than two completions")
    scores = row.get("scores")
    if scores is not None:
        scores = [float(score) for score in list_of(scores) if isinstance(score, int | float)]
        if len(scores) != len(completions) or sorted(scores, reverse=True) != scores:
            raise FormError("scores are not one number for each completion, falling")
    return Ranking(identity, prompt, completions, tuple(scores or ()), tools_of(row), metadata_of(row))


def _thumb(row: Row, identity: str) -> Record:
    prompt = _prompt(row)
    completion = _completion(prompt, row["completion"])
    return Thumb(identity, prompt, completion, _label(row["label"]), tools_of(row), metadata_of(row))


def _chat_thumb(row: Row, identity: str) -> Record:
    """A chat whose last answer has the thumb."""
    ((messages, tools), *_) = conversations_of(row)
    check_turns(messages)
    label = row["kto_tag"] if row.get("kto_tag") is not None else row["label"]
    return Thumb(identity, messages[:-1], messages[-1:], _label(label), tools, metadata_of(row))


def _steps(row: Row, identity: str) -> Record:
    steps = list_of(row["completions"] if row.get("completions") is not None else row["steps"])
    labels = list_of(row["labels"])
    if not all(isinstance(step, str) and step.strip() for step in steps):
        raise FormError("step is not text, or an empty one")
    if len(steps) != len(labels):
        raise FormError("number of labels is not that of steps")
    return Steps(identity, _prompt(row), tuple(steps), tuple(map(_label, labels)), metadata_of(row))


def _first_mistake(row: Row, identity: str) -> Record:
    """Steps up to the first wrong one, whose index is given, from 0; nothing is known of those behind it."""
    steps, mistake = list_of(row["steps"]), row.get("mistake_index", -1)
    if mistake is not None and (type(mistake) is not int or not 0 <= mistake < len(steps)):
        raise FormError("mistake_index is not the index of a step, nor null")
    known = len(steps) if mistake is None else mistake + 1
    labels = [place != mistake for place in range(known)]
    return _steps({**row, "prompt": row["input"], "steps": steps[:known], "labels": labels}, identity)


_FORMS: tuple[tuple[tuple[str, ...], Callable[[Row, str], Record]], ...] = (
    (("input", "preferred_output", "non_preferred_output"), _openai),
    (("prompt", "completions", "labels"), _steps),
    (("prompt", "steps", "labels"), _steps),
    (("input", "steps"), _first_mistake),
    (("prompt", "completions"), _ranking),
    (("prompt", "chosen", "rejected"), _prompted_pair),
    (("instruction", "chosen", "rejected"), _alpaca_pair),
    (("conversations", "chosen", "rejected"), _sharegpt_pair),
    (("chosen", "rejected"), _whole_pair),
    (("prompt", "completion", "label"), _thumb),
    (("messages", "label"), _chat_thumb),
    (("messages", "kto_tag"), _chat_thumb),
    (("conversations", "label"), _chat_thumb),
    (("conversations", "kto_tag"), _chat_thumb),
)


def _pair(row: Row, identity: str, prompt: list[Message]) -> Pair:
    chosen, rejected = _completion(prompt, row["chosen"]), _completion(prompt, row["rejected"])
    if chosen == rejected:
        raise FormError("chosen and rejected are the same")
    margin, tie = row.get("margin", 0), row.get("tie", False)
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not isinstance(tie, bool):
        raise FormError("margin is not a number, or tie not true or false")
    return Pair(identity, prompt, chosen, rejected, float(margin), tie, tools_of(row), metadata_of(row))


def _prompt(row: Row) -> list[Message]:
    prompt = row["prompt"]
    if isinstance(prompt, str):
        dialogue = _dialogue(prompt)
        return [*system_of(row), *([turn_of("user", prompt)] if isinstance(dialogue, str) else dialogue)]
    return [*system_of(row), *_messages(prompt)]


def _completion(prompt: list[Message], side: Any) -> list[Message]:
    """Messages that go on from a prompt; a row's completion may be a text, a message, or several."""
    if isinstance(side, str | int | float) and not isinstance(side, bool):
        messages = [turn_of("assistant", side)]
    else:
        messages = _messages([side] if isinstance(side, dict) else side)
    check_turns([*prompt, *messages])
    return messages


def _messages(value: Any) -> list[Message]:
    keys = {True: ("from", "value"), False: ("role", "content")}
    return [message_of(turn, *keys[isinstance(turn, dict) and "from" in turn]) for turn in list_of(value)]


def _label(value: Any) -> bool:
    """A thumb: true or false, 1 or 0, or 1 or -1 (PRM800K)."""
    if value not in (True, False, -1):
        raise FormError("label is not true or false")
    return bool(value == 1)


def _dialogue(value: Any) -> Any:
    """Turns of a text that is written as hh-rlhf writes dialogues; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("Human:", "Assistant:")):
        return value
    _, *parts = _SPEAKER.split(value.lstrip())
    turns = zip(parts[::2], parts[1::2], strict=True)
    # A prompt may end in "Assistant:", where the completion goes on.
    return [turn_of(_SPEAKERS[who], said.strip()) for who, said in turns if said.strip()]


def _split_texts(chosen: str, rejected: str) -> tuple[list[Message], list[str]]:
    """Cut what two texts share off them, back to a line's end or a space."""
    same = [a == b for a, b in zip(chosen, rejected, strict=False)]
    shared = chosen[: same.index(False) if False in same else len(same)]
    cut = 1 + (shared.rfind("\n") if "\n" in shared.lstrip() else shared.rfind(" "))
    prompt = shared[:cut].strip()
    return ([turn_of("user", prompt)] if prompt else []), [chosen[cut:].strip(), rejected[cut:].strip()]
