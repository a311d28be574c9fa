-- Lets the relay publish the same backlog again.
SELECT bench.rewind(%(origin)s, %(slot)s)
