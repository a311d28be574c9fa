"""What can go wrong in a consumer, by what an operator must do.

Problem
├── DatabaseUnavailable         Postgres does not answer, or refuses the login      at start; later it is retried
├── DatabaseFailed              a statement fails in a way that is final            ends the consumer
│   └── SchemaMissing           tables for tasks do not exist, or are older         run `consumers` or `relay setup`
├── SecondLockRefused           the server of second locks refuses the login, or a command      at start
├── HandlersAbandoned           handlers were still running when it had to end      they run again
│   └── JobsAbandoned           the same of scheduled jobs                          others run them later
└── ConfigurationProblem
    ├── HandlersUnusable        the module of handlers cannot be imported, or registers none
    └── JobUnusable             a scheduled job is declared wrongly, or its setting is no duration

Errors of RabbitMQ are in outboxkit/amqp/errors.py.
"""

from outboxkit.errors import ConfigurationProblem, Problem


class DatabaseUnavailable(Problem):
    """Postgres cannot be reached, or does not accept the login."""


class DatabaseFailed(Problem):
    """A statement of the consumer fails, and will fail again."""


class SchemaMissing(DatabaseFailed):
    """The database lacks the tables for tasks, or a column of them."""


class SecondLockRefused(Problem):
    """The server of second locks refuses what it is asked for, and only another configuration helps."""


class HandlersAbandoned(Problem):
    """Handlers were still running when the consumer had to end."""


class JobsAbandoned(HandlersAbandoned):
    """Scheduled jobs were still running when the consumer had to end."""


class HandlersUnusable(ConfigurationProblem):
    """The module in CONSUMERS_HANDLERS cannot be used."""


class JobUnusable(ConfigurationProblem):
    """The declaration of a scheduled job cannot be used."""
