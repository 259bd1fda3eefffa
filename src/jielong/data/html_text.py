"""The readable text of a web page: a small, honest extraction with the standard library.

It drops what is never prose (scripts, navigation, page headers and footers) and keeps the block structure.
It does not tell an article from the boxes around it; that takes an extraction library.
"""

import re
from html.parser import HTMLParser

_DROPPED = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "math",
        "iframe",
        "object",
        "canvas",
        "nav",
        "header",
        "footer",
        "aside",
        "form",
        "button",
        "select",
        "textarea",
        "head",
    ]
)
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
_PARAGRAPHS = frozenset(
    [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "pre",
        "ul",
        "ol",
        "table",
        "dl",
        "figure",
        "article",
        "section",
    ]
)
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
_SPACES = re.compile(r"[ \t\r\n\f\v\u00a0]+")


def html_to_text(page: str) -> tuple[str, str]:
    """Extract (title, text) from a page; never fails on bad markup.

    Paragraphs and headings are set apart by an empty line, headings start with "#" signs, list items with
    "- ".
    """
    parser = _Extractor()
    parser.feed(page)
    parser.close()
    return parser.title(), parser.text()


class _Extractor(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = []
        self._line: list[str] = []
        self._title: list[str] = []
        self._in_title = False
        self._preformatted = 0
        self._dropped: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag == "body":
            # The end tag of <head> may be left out.
            self._dropped.clear()
        if tag == "title" and self._dropped in ([], ["head"]) and not self._title:
            self._in_title = True
        if self._dropped:
            if tag in _DROPPED:
                self._dropped.append(tag)
            return
        if tag in _DROPPED:
            self._end_line()
            self._dropped.append(tag)
        elif tag == "br":
            self._end_line()
        elif tag in _BLOCKS:
            self._end_line(paragraph=tag in _PARAGRAPHS)
            if tag == "pre":
                self._preformatted += 1
            elif tag == "li":
                self._line.append("- ")
            elif tag[0] == "h" and tag[1:].isdigit():
                self._line.append("#" * int(tag[1]) + " ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # <svg/> opens nothing; for an HTML element the slash means nothing, but few pages rely on that.
        if tag in _VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if self._dropped:
            if tag in self._dropped:
                while self._dropped.pop() != tag:
                    pass
            elif tag in ("body", "html"):
                self._dropped.clear()
            return
        if tag in _BLOCKS:
            self._end_line(paragraph=tag in _PARAGRAPHS)
            if tag == "pre" and self._preformatted:
                self._preformatted -= 1

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        elif not self._dropped:
            if self._preformatted:
                *lines, last = data.split("\n")
                for line in lines:
                    self._line.append(line)
                    self._end_line()
                self._line.append(last)
            else:
                self._line.append(_SPACES.sub(" ", data))

    def title(self) -> str:
        """The page's title on one line."""
        return _SPACES.sub(" ", "".join(self._title)).strip()

    def text(self) -> str:
        """The text collected so far."""
        self._end_line()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self._lines)).strip("\n")

    def _end_line(self, paragraph: bool = False) -> None:
        line = "".join(self._line)
        self._line.clear()
        line = line.rstrip() if self._preformatted else re.sub(" +", " ", line).strip()
        if line and line.strip("#- "):
            self._lines.append(line)
        elif self._preformatted:
            self._lines.append("")
        if paragraph and self._lines and self._lines[-1]:
            self._lines.append("")
