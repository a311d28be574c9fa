-- How many jobs Procrastinate has done.
SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'
