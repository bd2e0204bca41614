"""Pages that people look at: the report, the review, and what both share."""
