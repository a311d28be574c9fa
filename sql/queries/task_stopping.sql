-- Which of these claims are no longer to be worked on: their task was asked to stop, or is somebody else's by now.
SELECT claim.id::text, claim.version
FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[]) AS claim (id, version)
LEFT JOIN tasks.task ON task.id = claim.id
WHERE (task.status = 'running' AND task.version = claim.version) IS NOT TRUE
