-- The events whose jobs graphile-worker keeps: they wait, or failed, or are locked by a worker that is gone. It deletes those
-- that it has done.
SELECT payload ->> 'event_id' FROM graphile_worker._private_jobs
