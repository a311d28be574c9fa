"""The type of a setting with the URL of a broker."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from outboxkit.amqp.connection import parameters
from outboxkit.errors import ConfigurationProblem


def _checked(url: SecretStr) -> SecretStr:
    try:
        parameters(url.get_secret_value(), name="settings")
    except ConfigurationProblem as problem:
        raise ValueError(problem.what) from problem
    return url


AmqpUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""An `amqp://` or `amqps://` URL, kept out of every repr."""
