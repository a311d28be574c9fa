-- How many jobs graphile-worker has not done: it deletes those that it has.
SELECT count(*) FROM graphile_worker.jobs
