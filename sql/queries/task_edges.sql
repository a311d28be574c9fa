-- The edges of a task's life, in the order in which a task lives; a status that the project does not know comes last.
SELECT from_status, to_status, meaning
FROM tasks.transition, (SELECT ARRAY['scheduled', 'pending', 'running', 'completed', 'failed', 'dead', 'cancelling', 'cancelled']
                        AS lived) AS life
ORDER BY array_position(lived, from_status), from_status, array_position(lived, to_status), to_status
