-- Removes the demo's tasks, but for those that are grabbed at this moment.
SELECT removed, held FROM tasks.demo_reset()
