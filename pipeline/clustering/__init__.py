"""Faces become people: from the vectors of a lake to its tables of people and clusters."""
