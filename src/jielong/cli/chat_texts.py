"""What the chat says, in English and in Traditional Chinese."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jielong.core.errors import UsageError

Language = Literal["en", "zh-TW"]


@dataclass(frozen=True, slots=True)
class ChatTexts:
    """Every text of the chat's interface; braces are filled with `str.format`."""

    loading: str
    welcome: str
    hint: str
    you: str
    help: str
    leaving: str
    reset: str
    system_is: str
    system_none: str
    system_set: str
    system_cleared: str
    saved: str
    save_usage: str
    save_exists: str
    unknown_command: str
    stopped: str
    cut: str
    dropped: str
    too_long: str
    no_answer: str
    press_ctrl_d: str
    why_none: str
    why_title: str
    dice_usage: str
    dice_title: str
    dice_rest: str
    dice_side: str
    dice_model: str
    dice_rolled: str
    units: tuple[tuple[int, str], ...]


ENGLISH = ChatTexts(
    loading="loading {folder} …",
    welcome="{name} · {parameters} parameters · context of {context} tokens",
    hint="Enter sends, Alt+Enter starts a new line, Ctrl-C stops an answer, Ctrl-D leaves. Commands: /help",
    you="you",
    help="""\
/dice [N]      the die of the last answer: what the model could have said, and how likely (last N tokens)
/why           with --best-of: all answers and what the teacher gave each
/reset         forget the conversation
/system TEXT   instructions for the model (alone: show them; a dash clears them)
/save FILE     write the conversation as JSON messages
/help          this list
/exit          leave (also Ctrl-D)
A message that begins with a slash: write two slashes.""",
    leaving="Goodbye.",
    reset="The conversation is forgotten.",
    system_is="System text: {text}",
    system_none="There is no system text.",
    system_set="The system text is set.",
    system_cleared="The system text is cleared.",
    saved="{count} messages saved in {file}.",
    save_usage="Say where: /save FILE",
    save_exists="{file} exists already; choose another name.",
    unknown_command="There is no command {command}; /help lists them.",
    stopped="(stopped)",
    cut="(cut off after {count} tokens)",
    dropped="(The context is full: {count} of the oldest turns forgotten to make room.)",
    too_long=(
        "This message does not fit: with the system text it has {tokens} tokens, and the context of "
        "{context} must keep {room} for the answer. Please shorten it."
    ),
    no_answer="There is no answer yet; ask something first.",
    press_ctrl_d="(Ctrl-D leaves)",
    why_none="There is nothing to choose from; start the chat with --best-of 4.",
    why_title="The teacher scored {count} answers; the first one was shown:",
    dice_usage="/dice takes a number of tokens, such as /dice 20",
    dice_title=(
        "Each token is one roll of a die; ▶ marks the side that came up.\nLeft: the model's own probability. "
        "Right: the probability it was rolled with, after temperature and filters."
    ),
    dice_rest="The last {shown} of {count} tokens; /dice {count} shows all.",
    dice_side="token",
    dice_model="model",
    dice_rolled="rolled",
    units=((10**9, " B"), (10**6, " M"), (10**3, " k")),
)

CHINESE = ChatTexts(
    loading="正在載入 {folder} …",
    welcome="{name} · 參數量 {parameters} · 上下文 {context} 個 token",
    hint="Enter 送出，Alt+Enter 換行，Ctrl-C 中斷回答，Ctrl-D 離開。指令一覽：/help",
    you="你",
    help="""\
/dice [N]      看上一個回答擲的骰子：模型當時可能說什麼、機率多大（最後 N 個 token）
/why           搭配 --best-of：列出所有候選回答與模擬老師給的分數
/reset         忘掉這段對話
/system 文字   給模型的指示（不加文字：顯示；減號：清除）
/save 檔案     把對話存成 JSON 訊息
/help          顯示這份說明
/exit          離開（也可以按 Ctrl-D）
訊息本身以斜線開頭時，請打兩個斜線。""",
    leaving="再見。",
    reset="已忘掉這段對話。",
    system_is="系統指示：{text}",
    system_none="目前沒有系統指示。",
    system_set="系統指示已設定。",
    system_cleared="系統指示已清除。",
    saved="{count} 則訊息已存到 {file}。",
    save_usage="請寫出檔名：/save 檔案",
    save_exists="{file} 已經存在，請換個檔名。",
    unknown_command="沒有 {command} 這個指令；/help 會列出所有指令。",
    stopped="（已中斷）",
    cut="（滿 {count} 個 token，在此截斷）",
    dropped="（上下文已滿，忘掉最早的 {count} 輪對話以騰出空間。）",
    too_long=(
        "這則訊息放不下：連同系統指示共 {tokens} 個 token，而 {context} 個 token 的上下文"
        "要留 {room} 個給回答。請縮短訊息。"
    ),
    no_answer="還沒有回答，請先問一個問題。",
    press_ctrl_d="（按 Ctrl-D 離開）",
    why_none="沒有候選回答可看；請用 --best-of 4 開始聊天。",
    why_title="模擬老師給 {count} 個回答打的分數；顯示的是第一個：",
    dice_usage="/dice 後面請接 token 的個數，例如 /dice 20",
    dice_title=(
        "每個 token 都是擲一次骰子的結果，▶ 是擲出的那一面。\n左：模型原本的機率；"
        "右：經過溫度與篩選、實際擲骰的機率。"
    ),
    dice_rest="這是 {count} 個 token 中的最後 {shown} 個；/dice {count} 顯示全部。",
    dice_side="token",
    dice_model="模型",
    dice_rolled="實際",
    units=((10**8, " 億"), (10**4, " 萬")),
)


def chat_texts(language: str | None, environment: Mapping[str, str] = os.environ) -> ChatTexts:
    """Choose the interface's language: the one asked for, else the locale's.

    Raises:
        UsageError: if the language asked for is neither English nor Chinese.
    """
    if language is None:
        names = ("LC_ALL", "LC_MESSAGES", "LANG")
        language = next((environment[name] for name in names if environment.get(name)), "en")
        return CHINESE if language.lower().startswith("zh") else ENGLISH
    if language.lower().startswith("zh"):
        return CHINESE
    if language.lower().startswith("en"):
        return ENGLISH
    raise UsageError(f"the chat speaks zh-TW and en, not {language!r}")
