"""The form of the checks that `relay check` and `consumers check` run: facts, verdicts, findings, and the report."""
