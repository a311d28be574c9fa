-- Appends one effect.
INSERT INTO demo.effect (task_id, version, worker, payload) VALUES (%(task_id)s, %(version)s, %(worker)s, %(payload)s)
