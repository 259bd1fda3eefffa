"""`jielong show MODEL`: where a model comes from."""

from rich.console import Console

from jielong.cli.manners import Json, Model
from jielong.core.files import to_json


def show(model: Model, *, json: Json = False) -> None:
    """Print a model's family tree: every stage it went through and what each measured.

    Args:
        model: the model folder.
        json: print the tree as JSON.
    """
    from dataclasses import asdict

    from jielong.core.files import find_model
    from jielong.models import family_tree, render_family_tree

    folder = find_model(model)
    if json:
        print(to_json(asdict(family_tree(folder))), end="")
    else:
        Console(highlight=False).print(render_family_tree(folder))
