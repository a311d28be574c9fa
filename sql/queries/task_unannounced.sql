-- Announces pending tasks again whose messages are lost, at most `limit` at a time (sql/schema/016_operating.sql has the rule).
SELECT task_id, type, times, reason FROM tasks.announce_again(make_interval(secs => %(wait)s), %(limit)s)
