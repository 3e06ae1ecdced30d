"""Errors of a service. moto finds a service's model by the module of the error's class."""

from moto.core.exceptions import ServiceException


def refusal_of(service: str) -> type[ServiceException]:
    """The class whose `(code, message)` the service answers with; `service` as moto names it."""
    return type("Refused", (ServiceException,), {"__module__": f"moto.{service}.exceptions"})
