"""Answers in packed rows: the same log-probabilities as one by one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.feedback.answers import answer_logprobs, in_groups, last_scores, pack_answers, without_gradient
from jielong.feedback.token_rows import TokenRow
from jielong.models import Transformer, qwen3_config

CPU = torch.device("cpu")
MODEL = Transformer(qwen3_config(64, 2, 40, 64)).double().eval()
MODEL.add_score(keep_head=True)
torch.nn.init.normal_(MODEL.score.weight, generator=torch.Generator().manual_seed(0))


def rows_of(prompts, answers):
    return [
        TokenRow(p + a, [False] * len(p) + [True] * len(a)) for p, a in zip(prompts, answers, strict=True)
    ]


token_lists = st.lists(st.integers(1, 39), min_size=1, max_size=12)


answers_to_few_prompts = st.lists(token_lists, min_size=1, max_size=2).flatmap(
    lambda prompts: st.lists(st.tuples(st.sampled_from(prompts), token_lists), min_size=1, max_size=7)
)


@settings(max_examples=30)
@given(st.lists(st.tuples(token_lists, token_lists), min_size=1, max_size=7) | answers_to_few_prompts)
def test_packed_answers_have_the_logprobs_and_scores_that_they_have_alone(pairs):
    prompts, answers = [p for p, _ in pairs], [a for _, a in pairs]
    inputs = pack_answers(rows_of(prompts, answers), 0, CPU)
    with torch.no_grad():
        found, entropies = answer_logprobs(MODEL, inputs)
        scores = last_scores(MODEL, inputs)
        for row, (prompt, answer) in enumerate(pairs):
            ids = torch.tensor([prompt + answer])
            hidden = MODEL(ids, torch.arange(ids.shape[1]).unsqueeze(0))
            logs = MODEL.head(hidden)[0].float().log_softmax(-1)
            at = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
            wanted = logs[at, ids[0, at + 1]]
            torch.testing.assert_close(found[row, : len(answer)], wanted, rtol=1e-5, atol=1e-5)
            wanted_entropies = -(logs[at].exp() * logs[at]).sum(-1)
            torch.testing.assert_close(entropies[row, : len(answer)], wanted_entropies, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(scores[row], MODEL.scores(hidden)[0, -1], rtol=1e-5, atol=1e-5)
            assert not found[row, len(answer) :].any()
            assert inputs.targets[row][inputs.mask[row]].tolist() == answer


def test_answers_to_one_prompt_share_it_where_that_saves_work():
    prompt, answer = [1] * 24, [2] * 24

    def tokens(prompts, answers):
        return int((pack_answers(rows_of(prompts, answers), 0, CPU).segments > 0).sum())

    assert tokens([prompt] * 2, [answer] * 2) == 24 + 2 * 24
    assert tokens([prompt, [3] * 24], [answer] * 2) == 2 * (24 + 24)
    assert tokens([[1]] * 2, [[2] * 40] * 2) == 2 * (1 + 40)  # the row would be twice as long for one token
    assert tokens([prompt] * 40, [answer] * 40) > 24 + 40 * 24  # attention over all of them would cost more


def test_groups_hold_everything_once_and_not_too_much():
    sizes = [5, 3, 9, 1, 1, 20, 2]
    groups = in_groups(sizes, 10)
    assert [size for group in groups for size in sizes[group]] == sizes
    assert all(sum(sizes[group]) <= 10 or len(sizes[group]) == 1 for group in groups)
    assert in_groups([], 10) == []


def test_in_groups_the_values_are_those_of_one_batch():
    prompts = [[1, 2, n] for n in range(1, 9)]
    answers = [[n] * (n % 3 + 1) for n in range(1, 9)]

    def logprobs(inputs):
        return answer_logprobs(MODEL, inputs)[0]

    at_once = without_gradient(logprobs, rows_of(prompts, answers), 0, CPU, torch.float32)
    in_parts = without_gradient(logprobs, rows_of(prompts, answers), 0, CPU, torch.float32, tokens_at_once=10)
    assert [len(row) for row in at_once] == [len(answer) for answer in answers]
    for one, two in zip(at_once, in_parts, strict=True):
        torch.testing.assert_close(one, two)
