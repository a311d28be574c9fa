-- Stores the number of the row that was published last.
UPDATE control.last_id SET seq = %(seq)s
