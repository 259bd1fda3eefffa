"""A model that gives known answers: it tests the exam itself."""

from collections.abc import Callable, Sequence

from jielong.evaluation.exam import prompt_ids
from jielong.evaluation.items import ExamItem, PromptForm, base_continuation
from jielong.generation import Completion, SamplingSettings
from jielong.tokenizer import Tokenizer

DONT_KNOW = {"zh": "我不知道。", "en": "I don't know."}


class ScriptedModel:
    """Answers each question as a function says and prefers the choice that a function says."""

    context_length = 4096

    def __init__(
        self,
        tokenizer: Tokenizer,
        items: Sequence[ExamItem],
        answer: Callable[[ExamItem], str],
        choose: Callable[[ExamItem], int],
        form: PromptForm = "chat",
        finish: str = "stop",
    ):
        self.tokenizer = tokenizer
        self.finish = finish
        self.calls: list[SamplingSettings] = []
        self._answers: dict[tuple[int, ...], str] = {}
        self._scores: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
        for item in items:
            prompt = tuple(prompt_ids(tokenizer, item, form))
            if item.form == "plain":
                self._answers[prompt] = answer(item)
            for number, choice in enumerate(item.choices):
                text = base_continuation(item, choice) if form == "base" else choice
                key = (prompt, tuple(tokenizer.encode(text)))
                self._scores[key] = -1.0 if number == choose(item) else -50.0

    def generate(self, prompts: Sequence[list[int]], settings: SamplingSettings) -> list[Completion]:
        self.calls.append(settings)
        texts = [self._answers[tuple(prompt)] for prompt in prompts]
        return [Completion(self.tokenizer.encode(text), text, self.finish) for text in texts]

    def score(self, prompts: Sequence[list[int]], continuations: Sequence[list[int]]) -> list[float]:
        return [self._scores[tuple(p), tuple(c)] for p, c in zip(prompts, continuations, strict=True)]


def perfect(item: ExamItem) -> str:
    """An accepted answer within a sentence."""
    said = item.check.answers[0]
    return f"答案是 {said}。" if item.lang == "zh" else f"It is {said}."


def ignorant(item: ExamItem) -> str:
    return DONT_KNOW[item.lang]


def first(_item: ExamItem) -> int:
    """Always the first choice."""
    return 0
