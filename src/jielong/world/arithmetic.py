"""Two-digit addition and subtraction, plain and worked, with a share of the problems kept for the exam."""

from dataclasses import dataclass
from random import Random

from jielong.world.content import load
from jielong.world.sentences import sentence
from jielong.world.stories import children


@dataclass(frozen=True, order=True)
class Problem:
    """x + y or x - y; both have two digits."""

    x: int
    sign: str
    y: int

    @property
    def result(self) -> int:
        """The right answer."""
        return self.x + self.y if self.sign == "+" else self.x - self.y


def split_problems(random: Random, held_out: float = 0.1) -> tuple[list[Problem], list[Problem]]:
    """Divide all two-digit problems into those that may be seen and those kept for the exam.

    x + y and y + x stay together. The result of a subtraction has two digits.
    """
    groups = [
        [Problem(x, "+", y), Problem(y, "+", x)] if x != y else [Problem(x, "+", y)]
        for x in range(10, 100)
        for y in range(x, 100)
    ]
    groups += [[Problem(x, "-", y)] for x in range(20, 100) for y in range(10, x - 9)]
    random.shuffle(groups)
    kept = round(held_out * len(groups))
    return [p for group in groups[kept:] for p in group], [p for group in groups[:kept] for p in group]


def values(problem: Problem) -> dict[str, str]:
    """Slots of a problem: the numbers, their ones and tens, and the steps of the written method."""
    xt, xo = divmod(problem.x, 10)
    yt, yo = divmod(problem.y, 10)
    if problem.sign == "+":
        carry = xo + yo > 9
        ones, tens = xo + yo, xt + yt + carry
    else:
        carry = xo < yo
        ones, tens = xo - yo + 10 * carry, xt - yt - carry
    numbers = {"x": problem.x, "y": problem.y, "z": problem.result, "xo": xo, "yo": yo, "xt": xt, "yt": yt}
    numbers |= {"o": ones, "t": tens, "w": ones % 10, "v": 10 + xo}
    return {name: str(number) for name, number in numbers.items()} | {"p": problem.sign}


def worked(problem: Problem, language: str) -> str:
    """The written method, step by step, ending in the answer."""
    templates = load("arithmetic")["worked"][language]
    ones = (problem.x % 10, problem.y % 10)
    if problem.sign == "+":
        name = "add_carry" if sum(ones) > 9 else "add"
    else:
        name = "sub_borrow" if ones[0] < ones[1] else "sub"
    return sentence(templates[name], values(problem), language)


def plain(random: Random, problem: Problem, language: str) -> str:
    """A problem with its answer, as an equation or in words."""
    content = load("arithmetic")
    templates = content["plain"][language]
    if random.random() < 0.4:
        templates = content["words_add" if problem.sign == "+" else "words_sub"][language]
    return sentence(random.choice(templates), children(random, language) | values(problem), language)


def make_page(random: Random, problems: list[Problem], language: str) -> str:
    """A page of three to six problems, some of them worked."""
    lines = [
        worked(problem, language) if random.random() < 0.4 else plain(random, problem, language)
        for problem in random.sample(problems, random.randint(3, 6))
    ]
    return "\n".join(lines)
