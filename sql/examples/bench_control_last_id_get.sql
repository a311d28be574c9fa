-- The number of the row that was published last.
SELECT seq FROM control.last_id
