"""Changes of a template, for tests that a rule finds them."""

from collections.abc import Callable


def at(tree, *path):
    for key in path:
        tree = tree[key]
    return tree


def put(value, *path) -> Callable[[dict], None]:
    def mutate(tree: dict) -> None:
        at(tree, *path[:-1])[path[-1]] = value

    return mutate


def drop(*path) -> Callable[[dict], None]:
    def mutate(tree: dict) -> None:
        del at(tree, *path[:-1])[path[-1]]

    return mutate
