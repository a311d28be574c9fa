SELECT task_id, made, same
FROM tasks.submit_once(%(key)s, %(digest)s, %(type)s, %(payload)s, %(max_attempts)s, %(headers)s, %(id)s, %(run_at)s)
