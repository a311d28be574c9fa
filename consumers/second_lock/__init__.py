"""The second lock: held around each handler, so that one task is in one handler at a time whatever else goes wrong.

It is defence in depth. The first lock is the claim: a version in the task's row, which only one outcome can match. That
keeps a task from being applied twice, but not its handler from running twice at the same time: a consumer that could
not extend its lease goes on with a handler whose task another consumer has claimed by then. With a second lock, that
other consumer's handler does not start: the task goes back, and is offered again later. A consumer that stands still as
a whole for longer than its lease loses both, or its tasks would never run again.

So the second lock decides nothing about correctness. Where it cannot be asked (Redis is down, stands still, lost what
it held), handlers run without it, and that is said once. `docs/second-lock.md` tells what each kind costs and covers.

lock        what a handler's thread or coroutine uses; with CONSUMERS_LOCK=none there is none
served      a second lock that a server keeps: taken, extended, released; what happens while the server is away
telling     what an operator is told
server      what a server must provide
advisory    Postgres' advisory locks
redis       Redis, through redis-py's Lock
address     the URL of Redis
"""
