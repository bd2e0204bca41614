"""The pages by topic."""
