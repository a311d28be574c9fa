-- Whether the claim at `version` has completed its task: only the claim's owner can write that at the next version.
SELECT EXISTS (SELECT FROM tasks.task WHERE id = %(id)s AND version = %(version)s + 1 AND status = 'completed')
