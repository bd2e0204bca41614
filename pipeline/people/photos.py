"""Photos by who is on them: together with some, without others."""

from collections.abc import Sequence

from pipeline.people.view import View


def photos_with(now: View, together: Sequence[str], without: Sequence[str] = ()) -> set[str]:
    """Return the ids of the photos on which all of some persons are, and none of others.

    Args:
        now: who is who.
        together: ids of persons, at least one.
        without: ids of persons who must not be on the photo.
    """

    def of(person: str) -> set[str]:
        return {face["image_id"] for face in now.faces(person)}

    found = set.intersection(*(of(person) for person in together))
    for person in without:
        found -= of(person)
    return found
