"""What knows every table: checking a lake, and forgetting."""
