"""The task submission service: tasks and events over HTTP, each written with its outbox row in one transaction.

    request ──► requests.py ──► routes/ ──► database.py ──► Postgres
                 id, log,        one file     one transaction
                 metrics,        for each     for each request
                 size            resource

What requests hold is in models.py; a payload goes to Postgres and back as the text that it is (json_text.py, shown.py).
What goes wrong is an answer of problems.py (RFC 9457).
"""
