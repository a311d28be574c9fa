"""The plots of a report, drawn by matplotlib: one file for each form, drawing.py for all of a report."""
