"""How the loss falls with parameters and tokens, and the best division of a budget between the two."""

import importlib.resources
import math
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from jielong.core.errors import JielongError

_DATA = "scaling_law.yaml"


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = e + a / N**alpha + b / D**beta (Chinchilla, arXiv 2203.15556, section 3.3, approach 3).

    N counts all weights, a tied head once; D counts tokens that are read for the first time.
    """

    e: float
    """Loss that neither size nor tokens remove."""
    a: float
    b: float
    alpha: float
    beta: float
    unit: str
    """Unit of the loss: `bits/byte` or `nats/token`."""
    source: str
    """Where the constants come from."""
    sizes: tuple[float, float]
    """Parameters of the smallest and the largest network that was trained for it."""

    def loss(self, parameters: float, tokens: float) -> float:
        """Expected held-out loss, in `unit`."""
        return self.e + self.a * math.pow(parameters, -self.alpha) + self.b * math.pow(tokens, -self.beta)

    def optimum(self, flops: float) -> tuple[float, float]:
        """The (parameters, tokens) of least loss where 6 N D = flops (section 3.3, equation 4)."""
        share = self.beta / (self.alpha + self.beta)
        ratio = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        parameters = ratio * (flops / 6) ** share
        return parameters, flops / 6 / parameters

    def tokens_for(self, parameters: float) -> float:
        """The tokens with which a size is the optimum: another token and another weight gain alike."""
        balance = self.beta * self.b / (self.alpha * self.a)
        return math.pow(balance * math.pow(parameters, self.alpha), 1 / self.beta)

    def parameters_for(self, tokens: float) -> float:
        """The size for which so many tokens are the optimum: `tokens_for`, solved for the size."""
        balance = self.alpha * self.a / (self.beta * self.b)
        return math.pow(balance * math.pow(tokens, self.beta), 1 / self.alpha)

    def covers(self, parameters: float, beyond: float = 1.0) -> bool:
        """Whether a size lies within what was trained, or at most a factor `beyond` outside."""
        return self.sizes[0] / beyond <= parameters <= self.sizes[1] * beyond

    def to_yaml_fields(self) -> dict[str, Any]:
        """The `law` of a fit's YAML file, as `parse_law` reads it."""
        return {**asdict(self), "sizes": list(self.sizes)}


CHINCHILLA = ScalingLaw(
    1.69, 406.4, 410.7, 0.34, 0.28, "nats/token",
    "Hoffmann et al. 2022, arXiv 2203.15556, section 3.3", (44e6, 16e9),
)  # fmt: skip
"""As printed. Their fit had not converged and its constants are rounded: it disagrees with the paper's own
approaches 1 and 2 (Besiroglu et al. 2024, arXiv 2404.10102). Kept for comparison."""

REPLICATION = ScalingLaw(
    1.8172, 482.01, 2085.43, 0.3478, 0.3658, "nats/token",
    "Besiroglu et al. 2024, arXiv 2404.10102", (44e6, 16e9),
)  # fmt: skip
"""The same data fitted again: the published constants to go by. Of English web text, a vocabulary of 32,000
and models of 44 M parameters and more: for our sizes both division and loss are extrapolated."""


def parse_law(text: str, where: str) -> ScalingLaw:
    """Read the `law` of a fit's YAML file; what else stands in it is for people.

    Raises:
        JielongError: the file does not hold a law.
    """
    try:
        law = yaml.safe_load(text)["law"]
        e, a, b, alpha, beta = (float(law[name]) for name in ("e", "a", "b", "alpha", "beta"))
        smallest, largest = (float(size) for size in law["sizes"])
        return ScalingLaw(e, a, b, alpha, beta, str(law["unit"]), str(law["source"]), (smallest, largest))
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise JielongError(
            f"{where} does not hold a scaling law; run `python -m benchmarks.isoflop` to write it anew"
        ) from None


def best_law() -> ScalingLaw:
    """Our own fit (benchmarks/isoflop.py) where it has been made, else the published constants."""
    file = importlib.resources.files(__package__).joinpath("data", _DATA)
    return parse_law(file.read_text("utf-8"), _DATA) if file.is_file() else REPLICATION
