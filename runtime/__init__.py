"""What every command of the project shares: settings, errors an operator can act on, logs, the entry point.

It knows nothing of Postgres, RabbitMQ or tasks, and imports none of the packages that use it.
"""
