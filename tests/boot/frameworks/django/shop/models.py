# So that tasks are registered as soon as Django loads.
from shop import tasks  # noqa: F401
