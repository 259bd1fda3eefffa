"""KTO on real thumbs: what is compared with what, how up and down weigh, and that it learns."""

import json

import pytest
from finished_run import metrics_of
from hypothesis import given
from hypothesis import strategies as st

from jielong.core.errors import UsageError
from jielong.feedback.dpo import run_preference_learning
from jielong.feedback.settings import PreferenceSettings
from jielong.feedback.thumbs import balanced_weights, mismatched
from jielong.feedback.token_rows import TokenRow


@pytest.fixture
def thumbs(tmp_path):
    """Sixty thumbs of which fifteen are down, and no prompt has both."""
    path = tmp_path / "thumbs.jsonl"
    rows = [
        {"prompt": f"What are {n}?", "completion": f"{n} apples" if n % 4 else "山 山", "label": n % 4 > 0}
        for n in range(60)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def recipe(tmp_path, parent, data, **values):
    training = {"steps": 20, "batch_rows": 12, "precision": "float32", "compile": "no", "device": "cpu",
                "optimizer": {"lr": 1e-3}, "schedule": {"warmup": 0},
                **values.pop("training", {})}  # fmt: skip
    return PreferenceSettings.parse({
        "out": tmp_path / "run", "parent": parent, "data": data, "loss": "kto", "training": training,
        **values,
    })  # fmt: skip


def test_what_people_liked_becomes_likelier_than_what_they_did_not(tmp_path, parent, thumbs):
    run = recipe(tmp_path, parent, [thumbs])
    run_preference_learning(run, quiet=True)
    rows = metrics_of(run.out)
    assert rows[0]["reward_desirable"] == pytest.approx(0, abs=1e-4)
    assert rows[0]["reference_point"] == pytest.approx(0, abs=1e-4)
    last = rows[-1]
    assert last["reward_desirable"] - last["reward_undesirable"] > 0.1


def test_thumbs_pairs_and_rankings_are_learned_from_together(tmp_path, parent, thumbs, comparisons):
    ranking = tmp_path / "rankings.jsonl"
    row = {"prompt": "好？", "completions": ["3 apples", "山", "4 apples"], "scores": [1, 0.5, 0.5]}
    ranking.write_text(json.dumps(row) + "\n")
    run = recipe(tmp_path, parent, [thumbs, comparisons, ranking], training={"steps": 1}, heldout_share=0.01)
    run_preference_learning(run, quiet=True)
    lineage = json.loads((run.out / "model" / "lineage.json").read_text())
    assert 60 + 80 + 2 - 8 <= lineage["data"][0]["documents"] <= 60 + 80 + 2


def test_a_batch_of_one_thumb_has_nothing_to_compare_with(tmp_path, parent, thumbs):
    with pytest.raises(UsageError, match="batch_rows must be 2 or more"):
        run_preference_learning(recipe(tmp_path, parent, [thumbs], training={"batch_rows": 1}), quiet=True)


def test_up_and_down_count_the_same_in_sum():
    for ups, downs in ((45, 15), (3, 30), (7, 7)):
        up, down = balanced_weights(ups, downs)
        assert up * ups == pytest.approx(down * downs)
        assert min(up, down) == 1
    assert balanced_weights(5, 0) == (1, 1)


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(4, 9)), min_size=1, max_size=8)


@given(rows)
def test_an_answer_goes_after_another_prompt_wherever_there_is_one(given_rows):
    found = [TokenRow([prompt, answer, 99], [False, True, True]) for prompt, answer in given_rows]
    prompts = {prompt for prompt, _ in given_rows}
    for (prompt, answer), other in zip(given_rows, mismatched(found), strict=True):
        assert other.ids[1:] == [answer, 99]
        assert other.counted == [False, True, True]
        assert (other.ids[0] != prompt) == (len(prompts) > 1)


def test_a_row_does_not_become_longer_than_all_of_them():
    long, short = TokenRow([1] * 9 + [2], [False] * 9 + [True]), TokenRow([3] + [4] * 6, [False] + [True] * 6)
    first, second = mismatched([long, short])
    assert first.ids == [3, 2]
    assert second.ids == [1, 1, 1, 1, 4, 4, 4, 4, 4, 4]
    assert second.counted == [False] * 4 + [True] * 6
