"""What an application declares, and what its handlers get: types, retries, the task. It runs no handler."""
