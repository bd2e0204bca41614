"""Copies in a lake: from its tables to the table of duplicates, and what is done about them."""
