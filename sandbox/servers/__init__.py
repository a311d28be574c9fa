"""Postgres and RabbitMQ, from this machine's packages, as containers, or named by the user."""
