"""KTO: learning from thumbs up and down, each on an answer of its own."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from jielong.core.errors import UsageError
from jielong.feedback.answers import AnswerInputs, answer_sums, pack_answers, split_inputs
from jielong.feedback.objectives.masked import Statistics
from jielong.feedback.objectives.preference import kto_loss, kto_reference_point
from jielong.feedback.policy import Reference
from jielong.feedback.settings import PreferenceSettings
from jielong.feedback.shuffled import ShuffledBatches
from jielong.feedback.token_rows import TokenRow, TokenThumb
from jielong.models import Transformer
from jielong.training.batches import Batch
from jielong.training.distributed import rank, sum_of_all, world_size
from jielong.training.gradients import Objective
from jielong.training.precision import computing_in


class ThumbBatches(ShuffledBatches[TokenThumb]):
    """Draws N thumbs, and the same answers after prompts of others, with the reference's view of both.

    KTO judges an answer by how much likelier it became than answers do that belong to another prompt.
    """

    on_policy = True  # not for the weights, but so that two networks do not compute side by side
    reference: Reference
    dtype: torch.dtype

    def draw(
        self, number: int, device: torch.device, share: slice = slice(None)
    ) -> Batch[tuple[Tensor, ...]]:
        """Answers, reference [N], answers elsewhere, reference of them [N], labels [N]."""
        thumbs = self.items_of(number)
        # Of the whole micro-batch, so that it does not matter how many processes share it.
        elsewhere = mismatched([thumb.row for thumb in thumbs])[share]
        thumbs = thumbs[share]
        inputs = pack_answers([thumb.row for thumb in thumbs], self.pad, device)
        others = pack_answers(elsewhere, self.pad, device)
        labels = torch.tensor([thumb.label for thumb in thumbs], device=device)
        reference = partial(reference_sums, self.reference, self.dtype)
        tokens = int((inputs.segments > 0).sum())
        return Batch((*inputs, reference(inputs), *others, reference(others), labels), len(thumbs), tokens)


def mismatched(rows: Sequence[TokenRow]) -> list[TokenRow]:
    """Each row's answer after the prompt of the next row that has another one.

    Of a prompt only the end is taken where more would make the row longer than all that were given.
    """
    longest = max(len(row.ids) for row in rows)
    prompts = [row.ids[: row.counted.index(True)] for row in rows]
    found = []
    for place, row in enumerate(rows):
        following = [*prompts[place + 1 :], *prompts[:place]]
        prompt = next((other for other in following if other != prompts[place]), prompts[place])
        answer, counted = row.ids[len(prompts[place]) :], row.counted[len(prompts[place]) :]
        prompt = prompt[-(longest - len(answer)) :]
        found.append(TokenRow([*prompt, *answer], [*[False] * len(prompt), *counted]))
    return found


def reference_sums(reference: Reference, dtype: torch.dtype, inputs: AnswerInputs) -> Tensor:
    """Log-probabilities [B] that a reference gives to whole answers; it moves to where they are."""
    device = inputs.tokens.device
    autocast = computing_in(dtype, device)
    with torch.no_grad(), autocast, reference.network() as network:
        return answer_sums(network.to(device), inputs)


def thumb_objective(settings: PreferenceSettings, thumbs: Sequence[TokenThumb]) -> Objective:
    """KTO's loss with weights for up and down.

    By default the rarer of the two weighs as much more as it is rarer: the paper (arXiv 2402.01306)
    asks for a ratio of weight times number, up to down, between 1 and 4/3; here it is 1.

    Args:
        settings: beta, and weights where they are given.
        thumbs: all that is learned from.

    Raises:
        UsageError: a micro-batch holds one thumb only, so that there is no other prompt.
    """
    if settings.training.batch_rows < 2:
        raise UsageError(
            "kto compares answers with other prompts of the batch: training.batch_rows must be 2 or more"
        )
    up, down = balanced_weights(
        sum(thumb.label for thumb in thumbs), sum(not thumb.label for thumb in thumbs)
    )
    weights = settings.up_weight or up, settings.down_weight or down
    return partial(_objective, settings.beta, weights)


def balanced_weights(ups: int, downs: int) -> tuple[float, float]:
    """Weights, of which the smaller is 1, that make so many thumbs up and down count the same in sum."""
    if not ups or not downs:
        return 1.0, 1.0
    return max(1.0, downs / ups), max(1.0, ups / downs)


def _objective(
    beta: float, weights: tuple[float, float], model: Transformer, *inputs: Tensor
) -> tuple[Tensor, Statistics]:
    answers, known = split_inputs(inputs)
    sums = answer_sums(model, answers)
    reference, *rest, others_reference, labels = known
    with torch.no_grad():
        elsewhere = answer_sums(model, AnswerInputs(*rest))
    point = kto_reference_point(_of_all(elsewhere), _of_all(others_reference))
    return kto_loss(
        sums, reference, labels, point, beta=beta, desirable_weight=weights[0], undesirable_weight=weights[1],
        normalizer=1.0,
    )  # fmt: skip


def _of_all(values: Tensor) -> Tensor:
    """Numbers [N] of every process, [processes x N]."""
    if world_size() == 1:
        return values
    table = torch.zeros(world_size(), len(values))
    table[rank()] = values.detach()
    return torch.tensor(sum_of_all(*table.flatten().tolist()), device=values.device)
