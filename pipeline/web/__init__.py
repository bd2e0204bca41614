"""Pages that people look at, the API of a model, and what they share."""
