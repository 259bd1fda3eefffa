import pytest

from jielong.data import Problems
from jielong.feedback.preferences import read_preferences
from jielong.feedback.records import Pair
from jielong.world import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds") / "tiny"
    return folder, make_world(folder, "tiny", 5)["counts"]


@pytest.mark.parametrize("aspect", ["helpful", "safe"])
@pytest.mark.parametrize("part", ["", "_heldout"])
def test_what_the_world_prefers_is_read_as_pairs(world, aspect, part):
    folder, counts = world
    name = f"preferences_{aspect}{part}"
    problems = Problems()
    found = list(read_preferences(folder / f"{name}.jsonl", problems))
    assert problems.total == 0
    assert len(found) == counts[name] > 50
    assert all(isinstance(record, Pair) for record in found)
    assert {record.metadata["lang"] for record in found} == {"zh", "en"}
