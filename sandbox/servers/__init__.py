"""The three back ends: Postgres and RabbitMQ from this machine's packages, in containers, or named by the user.

Redis is started only where it is asked for, and always from this machine's packages.
"""
