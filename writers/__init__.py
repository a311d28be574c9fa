"""Write a task or an event in your own transaction, on your own psycopg connection, sync or async.

    with connection.transaction():
        connection.execute("UPDATE orders SET paid = true WHERE id = %s", [order])
        task_id = submit(connection, NewTask("send_receipt", {"order": order}))

    async with connection.transaction():
        await publish(connection, NewEvent("order", "42", 7, "paid", {"total": 120}))

Nothing here commits, rolls back or opens a connection: the task or event exists if and only if your transaction
commits. Ids are made in this process, so they are known before the commit. Other languages call the SQL functions
`tasks.submit` and `outbox.publish`; the functions here do nothing else.
"""

from writers.errors import NotAllowed, NotSetUp, Refused
from writers.records import NewEvent, NewTask
from writers.transaction import publish, submit, submit_many

__all__ = ["NewEvent", "NewTask", "NotAllowed", "NotSetUp", "Refused", "publish", "submit", "submit_many"]
