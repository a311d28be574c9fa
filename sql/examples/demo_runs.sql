-- Takes the runs of `note` from its file.
COPY demo.run (task_id, version) FROM STDIN
