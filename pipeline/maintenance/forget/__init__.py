"""Removes people, photos and faces from every table of a lake, and proves that they are gone."""
