"""A JSON array of any size is read one element at a time."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import characters_and_peak

from jielong.data.rows import array_elements

zstandard = pytest.importorskip("zstandard")


def test_a_json_array_is_read_row_by_row(tmp_path: Path) -> None:
    with zstandard.open(tmp_path / "a.json.zst", "wt", encoding="utf-8") as file:
        file.write("[")
        for number in range(6000):
            file.write(json.dumps({"text": f"{number} " + "x" * 5000, "nested": [[number]]}) + ",\n")
        file.write('{"text": "last"}]')
    count, peak = characters_and_peak(tmp_path)
    assert count > 30_000_000
    assert peak < 16_000_000


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, max_size=6), st.none() | st.integers(0, 2), st.integers(1, 7), st.text(" \n\t\r"))
def test_a_json_array_cut_anywhere_has_the_same_elements(
    expected: list[Any], indent: int | None, size: int, space: str
) -> None:
    text = json.dumps(expected, indent=indent, ensure_ascii=False)[1:] + space
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(array_elements("", iter(chunks))) == expected


@pytest.mark.parametrize("broken", ["", "1", "1,", "1 2]", ",]", "1,]", "1]]", "1] 2", '"a', "tru]", "1}"])
@given(size=st.integers(1, 3))
def test_a_broken_json_array_is_an_error_however_it_is_cut(broken: str, size: int) -> None:
    chunks = [broken[start : start + size] for start in range(0, len(broken), size)]
    with pytest.raises(json.JSONDecodeError):
        list(array_elements("", iter(chunks)))
