"""What can go wrong in a consumer, told apart by what an operator must do.

Problem
├── DatabaseUnavailable         Postgres does not answer, or refuses the login    at start; later: tried again
├── SchemaMissing               the database was never set up                     at start
├── HandlersAbandoned           handlers outlived the grace period                at the end
└── ConfigurationProblem
    └── HandlersUnusable        the module of handlers cannot be imported, or registers none

The broker's side of the tree is in outboxkit/amqp/errors.py.
"""

from outboxkit.errors import ConfigurationProblem, Problem


class DatabaseUnavailable(Problem):
    """Postgres cannot be reached, or does not accept the login."""


class SchemaMissing(Problem):
    """The database lacks the tables of tasks."""


class HandlersAbandoned(Problem):
    """Handlers were still running when the grace period ended."""


class HandlersUnusable(ConfigurationProblem):
    """The module that CONSUMERS_HANDLERS names is of no use."""
