-- The events whose jobs Procrastinate keeps and has not done: they wait, or failed, or their worker is gone.
SELECT args ->> 'event_id' FROM procrastinate_jobs WHERE task_name = 'event' AND status <> 'succeeded'
