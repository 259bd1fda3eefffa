"""A small corpus of both languages and code, the same in every process."""

from collections.abc import Iterator

TEXTS = [
    "台灣最高的山是玉山，海拔三千九百五十二公尺。玉山位於台灣中部。\n\n小金住在高雄市，高雄舊稱打狗。",
    "Water boils at 100 degrees at sea level. The boiling point is lower on a mountain, isn't it?",
    "def add(first, second):\n    return first + second\n\n\nclass Point:\n    def __init__(self):\n",
    "　　他說：「今天天氣很好。」她回答：「是的，我們去爬山吧！」使用 Python 3.11 的電腦。",
    "12 + 34 = 46。34 - 12 = 22。the quick brown fox jumps over the lazy dog",
]


def corpus() -> Iterator[str]:
    for number in range(40):
        for text in TEXTS:
            yield text + f"\n第 {number} 篇 document {number}\n"
