-- The same backlog again.
SELECT bench.rewind(%(origin)s, %(slot)s)
