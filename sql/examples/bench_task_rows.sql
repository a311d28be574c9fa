-- Adds pending tasks that nobody announces: only a benchmark's own claims find them.
INSERT INTO tasks.task (type, payload, status) SELECT 'bench.row', '{}', 'pending' FROM generate_series(1, %(tasks)s)
