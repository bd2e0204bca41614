"""People learnt from the vectors of a lake, and photos that are told by what was learnt."""
