-- Begins a poll. A standby refuses READ WRITE: its snapshots list nothing as running.
BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE
