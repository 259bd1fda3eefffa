"""Server-sent events, however the bytes are cut."""

from hypothesis import given
from hypothesis import strategies as st

from jielong.lm.sse import event_data

TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)


@given(
    st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=5), st.sampled_from(["\n", "\r\n"]), st.data()
)
def test_events_do_not_depend_on_how_the_bytes_come(events, end, data):
    lines = [
        line
        for event in events
        for line in [": a comment", "event: message", *(f"data: {text}" for text in event), "id: 7", ""]
    ]
    raw = "".join(line + end for line in lines).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert list(event_data(pieces)) == ["\n".join(event) for event in events]


def test_what_the_standard_says_of_spaces_and_ends():
    assert list(event_data([b"data:a\n\ndata:  b\n\ndata\n\nevent: x\n\ndata: cut off\n"])) == ["a", " b"]
