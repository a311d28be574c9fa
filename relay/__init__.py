"""The relay: reads outbox events from Postgres and publishes them to RabbitMQ.

The flow, one folder after the other: `sources/` → `routing` → `publishing/` → `ledger` → checkpoint.
`engine` is the loop around them, `app` the only file that builds concrete parts.
"""
