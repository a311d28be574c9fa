"""The report of a comparison: plots, index.html, report.md and the table on the terminal."""
