"""The lake: its tables, their parts, who may write, what was forgotten."""
