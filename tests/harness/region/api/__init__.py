"""Which call of AWS ends where: methods that take the place of moto's, while a region is there.

moto reads each request and writes each answer by AWS's own models; a function here has the parameters as a dictionary,
and returns the answer as one.
"""

import functools
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.serialize import XFormedAttributePicker
from moto.core.utils import camelcase_to_underscores

from . import autoscaling, balancing, cloudformation, ec2, iam, rds, service_quotas, systems_manager

SERVICES = (autoscaling, balancing, cloudformation, ec2, iam, rds, service_quotas, systems_manager)


@contextmanager
def offered(engine) -> Iterator[None]:
    """Has moto answer these calls by the engine, and the rest as it does."""
    with ExitStack() as stack:
        for service in SERVICES:
            for name, function in service.CALLS.items():
                method = answering(service, engine, function)
                method_name = camelcase_to_underscores(name)
                stack.enter_context(patch.object(service.RESPONSE, method_name, method, create=True))
            for place, name, value in service.corrections(engine):
                stack.enter_context(patch.object(place, name, value))
        yield


def answering(service, engine, function: Callable) -> Callable:
    @functools.wraps(function)
    def method(self):
        # Of services that speak JSON, moto leaves the parameters as they came.
        given = self._get_params() if self.automated_parameter_parsing else json.loads(self.body)
        try:
            return Answer(function(engine, given) or {})
        except ValueError as error:
            raise service.refused("ValidationError", str(error)) from error
        except ServiceException:
            raise
        except Exception as error:
            engine.problems.append(traceback.format_exc())
            raise service.refused("InternalFailure", repr(error)) from error

    return method


class Answer(ActionResult):
    """Has AWS's shape already, where moto reshapes its own."""

    def execute_result(self, context):
        serializer = context.serializer_class(
            operation_model=context.operation_model, value_picker=XFormedAttributePicker()
        )
        answer = serializer.serialize(self.result)
        return answer["status_code"], answer["headers"], answer["body"]
