"""The language of the interface: Chinese where the user's locale is Chinese, English elsewhere."""

import os
from typing import Literal

Language = Literal["zh", "en"]


def interface_language() -> Language:
    """The language that LC_ALL, LC_MESSAGES or LANG (the first that is set) asks for."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"
