"""Stop strings: the same cut however the text is divided."""

from hypothesis import given
from hypothesis import strategies as st

from jielong.generation import StopStrings

LETTERS = st.text("ab一", max_size=14)


@given(text=LETTERS, stops=st.lists(st.text("ab一", min_size=1, max_size=4), max_size=3), borders=st.data())
def test_cut_does_not_depend_on_how_the_text_is_divided(
    text: str, stops: list[str], borders: st.DataObject
) -> None:
    cuts = sorted(borders.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    stream = StopStrings(stops)
    shown = "".join([*(stream.push(piece) for piece in pieces), stream.flush()])
    assert (shown, stream.found) == reference(text, stops)


def reference(text: str, stops: list[str]) -> tuple[str, str | None]:
    """Read letter by letter; at the first that completes stop strings, cut before the longest of them."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return text[: end - len(longest)], longest
    return text, None


def test_text_that_cannot_begin_a_stop_string_is_shown_at_once() -> None:
    stream = StopStrings(["\n\nQ:"])
    assert stream.push("好。") == "好。"
    assert stream.push("\n") == ""
    assert stream.push("再") == "\n再"
    assert stream.push("\n\nQ") == ""
    assert stream.flush() == "\n\nQ"
