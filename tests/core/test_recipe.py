from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jielong.core.errors import UsageError
from jielong.core.recipe import Settings, describe


class Inner(Settings):
    rate: float = 0.1
    """How fast."""


class Outer(Settings):
    name: str
    """What it is called."""
    inner: Inner = Inner()
    paths: tuple[Path, ...] = ()


def test_overrides_win_over_the_file(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: a\ninner: {rate: 0.5}\n")
    assert Outer.load(recipe).inner.rate == 0.5
    assert Outer.load(recipe, ["inner.rate=2e-3", "name=接龍"]) == Outer(name="接龍", inner=Inner(rate=0.002))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["name=a", "inner.ratee=1"], ["'inner.ratee'", "did you mean 'inner.rate'"]),
        (["nam=a"], ["name"]),
        ([], ["'name' is required"]),
        (["name=a", "inner.rate=fast"], ["'inner.rate'", "valid number", "'fast'"]),
        (["name"], ["a.b=value"]),
        (["name=a", "name.x=1"], ["name is a value"]),
        (["name=[1"], ["not valid YAML"]),
    ],
)
def test_wrong_settings_are_one_clear_line(overrides, words):
    with pytest.raises(UsageError) as error:
        Outer.load(None, overrides)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "\xff\xfe"])
def test_a_broken_recipe_file_is_one_clear_line(tmp_path, content):
    recipe = tmp_path / "r.yaml"
    recipe.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=r"r\.yaml"):
        Outer.load(recipe)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.yaml does not exist"):
        Outer.load(tmp_path / "nothing.yaml")


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.lists(st.text("abc/.", min_size=1)))
def test_a_recipe_written_out_reads_back_equal(name, rate, paths):
    outer = Outer(name=name, inner=Inner(rate=rate), paths=tuple(map(Path, paths)))
    assert Outer.parse(yaml.safe_load(outer.to_yaml())) == outer


def test_describe_gives_every_setting_with_its_docstring():
    rows = {row[0]: row for row in describe(Outer)}
    assert rows["inner.rate"][2:] == ("0.1", "How fast.")
    assert rows["name"][2] == "required"
