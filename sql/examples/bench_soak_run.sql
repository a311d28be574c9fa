-- Records that a task runs, and returns how many times it has.
WITH recorded AS (
    INSERT INTO bench.run (task_id, version, worker) VALUES (%(task_id)s, %(version)s, %(worker)s)
)
SELECT count(*) + 1 FROM bench.run WHERE task_id = %(task_id)s
