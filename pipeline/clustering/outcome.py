"""What a clustering found."""

from dataclasses import dataclass

from pipeline.arrays import Floats64, Ints
from pipeline.clustering.algorithms.grid import Grid
from pipeline.clustering.algorithms.odds import Odds
from pipeline.clustering.algorithms.tiers import Tiers
from pipeline.clustering.evidence import Confirmed
from pipeline.clustering.gather import Faces
from pipeline.clustering.groups_level import Groups
from pipeline.clustering.modes import Halves


@dataclass(frozen=True)
class Outcome:
    """Persons are numbered 0 to P-1; faces as in `faces`.

    Attributes:
        tiers: of each face.
        person: of each face, or `NOBODY`, int64 [N].
        own, other: average cosine to it, the face itself included, and to the best other one.
        sizes: core faces of each person.
        means: of each person, grid vectors.
        past_person: person that each of the past became.
        groups: of faces, which the persons come from.
        person_of_group: person of each group.
        face_of_group: a face of each group; one of the past is its place behind the faces.
        confirmed: corrections.
        odds: of faces alone; None: not measured.
        halves: of people.
    """

    faces: Faces
    tiers: Tiers
    person: Ints
    own: Floats64
    other: Floats64
    sizes: Floats64
    means: Grid
    past_person: Ints
    groups: Groups
    person_of_group: Ints
    face_of_group: Ints
    confirmed: Confirmed
    odds: Odds | None
    halves: Halves
