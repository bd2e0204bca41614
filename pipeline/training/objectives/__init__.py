"""What a network learns by: margins and class heads, pairs, and another network's vectors."""
