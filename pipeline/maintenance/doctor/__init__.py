"""What an installation and its machine have, and what to do about what is missing."""
