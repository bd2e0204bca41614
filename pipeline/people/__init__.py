"""People: the tables that clustering makes of a lake, and the corrections made to them."""

from pipeline.people.store import People

__all__ = ["People"]
