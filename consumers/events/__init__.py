"""Event consumers: handlers for any event of the outbox, each in one transaction with its claim.

    from consumers import Event, on

    @on("order.*")
    def count(event: Event, connection) -> None: ...

docs/events.md has the model and what is guaranteed.
"""
