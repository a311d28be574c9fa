"""The task submission service: tasks and events over HTTP, each written with its outbox row in one transaction.

    request ──► requests.py ──► routes/ ──► postgres/ ──► Postgres
                 id, log,        one file     one transaction
                 metrics,        for each     for each request
                 size            resource

contract/ is what clients see: bodies, pages, and problems (RFC 9457). A payload goes to Postgres and back as the text
that it is. serving.py builds the parts.
"""
