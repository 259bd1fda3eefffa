"""`jielong world make`: the built-in world."""

from pathlib import Path
from typing import Literal

from cyclopts import App

from jielong.cli.manners import Json, print_result

app = App(
    name="world",
    help_format="plaintext",
    help="Make the built-in world, where the truth is known.",
)


@app.command
def make(
    directory: Path,
    *,
    size: Literal["tiny", "small", "medium"] = "small",
    seed: int = 0,
    label_noise: float = 0.1,
    json: Json = False,
) -> None:
    """Write the world of a size and seed; the same two give the same bytes on any machine.

    Args:
        directory: folder to write; an older world there is replaced.
        size: tiny for tests, small for minutes on a laptop, medium for a GPU.
        seed: which world.
        label_noise: share of the preferences whose label is wrong, from 0 to 0.5.
        json: print the counts as JSON.
    """
    from jielong.world import Noise, make_world

    print_result(make_world(directory, size, seed, Noise(flips=label_noise)), json)
