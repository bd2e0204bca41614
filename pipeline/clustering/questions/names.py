"""What typing names is worth: who has a name can be recognised, whatever the faces look like.

Profiles, masks and decades resemble nobody, and no comparison finds them. Somebody who knows the
people does: once the people seen often have names, each face alone takes one answer. Clustering
tells how likely faces alone are somebody who has other faces; every answer corrects that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats64
from pipeline.clustering.questions.persons import NOBODY, Persons

# Answers that the confidence of clustering counts as.
PRIOR = 4.0
# Typing a name, in clicks; and looking at one of those to choose from.
TYPING, LOOK_AT_CHOICE = 2.0, 0.02
# What the name of a face is worth by itself, in faces put right.
LAST = 1e-3
# What a plan gains comes late, and hangs on all of it: it counts as this share.
LATER = 0.3
# Plans that are compared, in numbers of people to name and of faces alone to ask about.
STEPS = 48


@dataclass
class Names:
    """How likely faces alone are people who have other faces, as answers have it.

    Attributes:
        joined: names that were typed and known, `expected` before.
    """

    joined: float = 0.0
    expected: float = 0.0

    def learn(self, answers: Sequence[tuple[float, bool]]) -> None:
        """Take all typed names so far: the chance that each was known, and whether it was."""
        self.expected = sum(chance for chance, _ in answers)
        self.joined = sum(known for _, known in answers)

    def chances(self, persons: Persons) -> Floats64:
        """Return for each person without a name the chance of having other faces, float64 [S]."""
        scale = (self.joined + PRIOR) / (self.expected + PRIOR)
        unnamed = persons.asked & (persons.name == NOBODY)
        chances: Floats64 = np.clip(persons.elsewhere * scale, 0, 1) * unnamed
        return chances

    def rates(self, persons: Persons, choices: int) -> tuple[Floats64, Floats64]:
        """Return what naming each person gains for a click, and the chance that the name is known.

        A name that is known joins two persons. One that is not is worth what it will help later:
        of the plans to name some of those who are seen most, and then to ask about some of the
        others, the best one counts. Instead, somebody may be found among those that are shown.

        Args:
            persons: who they are.
            choices: how many are shown at most.
        """
        chances = self.chances(persons)
        several = persons.faces * (persons.asked & (persons.faces >= 2))
        total = max(1.0, several.sum())
        share = float((several * (persons.name != NOBODY)).sum()) / total
        known = chances * share
        rates = known * 2 * persons.faces / TYPING
        people = int((several > 0).sum())
        shown = min(choices, people)
        picked = chances * shown / max(1, people) * 2 * persons.faces
        rates = np.maximum(rates, picked / (1 + LOOK_AT_CHOICE * shown))
        # Names that only one face has wait for the person whose name they are.
        waiting = persons.asked & (persons.name != NOBODY) & (persons.faces < 2)
        pending = float(2 * persons.elsewhere[waiting].sum()) * (1 - shown / max(1, people))
        unnamed = (persons.name == NOBODY) & (several > 0)
        rates = np.maximum(rates, unnamed * pending * several / total / TYPING)
        order = np.argsort(-several, kind="stable")[: int((several > 0).sum())]
        unnamed = persons.name[order] == NOBODY
        # Whoever is among those that are shown needs no name to be found.
        hidden = 1 - shown / max(1, people)
        worth = hidden * np.sort((chances * 2 * persons.faces)[persons.faces < 2])[::-1]
        if len(order) and len(worth) and unnamed.any():
            first, rest = _steps(len(order)), _steps(len(worth))
            seen = np.cumsum(several[order])[first - 1] / total
            clicks = TYPING * (np.cumsum(unnamed)[first - 1][:, None] + rest)
            plan = seen[:, None] * np.cumsum(worth)[rest - 1] / clicks
            most = int(np.argmax(plan.max(axis=1)))
            named = order[: first[most]][unnamed[: first[most]]]
            # Those who are seen most come first.
            later = LATER * plan.max() * (1 + 1e-6 * several[named])
            rates[named] = np.maximum(rates[named], later)
        # Somebody without a name can always be asked about, those of most faces first.
        return rates + LAST * persons.faces, known


def _steps(most: int) -> np.ndarray:
    """Return numbers from 1 to `most`, few of the large ones."""
    return np.unique(np.round(np.geomspace(1, most, STEPS)).astype(np.int64))
