"""What people say is true, read from files and matched to a lake: rows, pairs, boxes."""
