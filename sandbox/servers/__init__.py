"""The three back ends: Postgres and RabbitMQ from this machine's packages, in containers, or named by the user."""
