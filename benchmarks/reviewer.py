"""How many answers bring a lake to a given quality: the queue, and the pages that were before.

    FACELAKE_DATA=... python -m benchmarks.reviewer LAKE_OF_LFW LAKE_OF_WILD [--half reporting|all]
    python -m benchmarks.reviewer speed [--faces 100000]

The lakes are made with `facelake index ... --embedder sface`. A reviewer who knows everybody
answers what is asked, by the faces that the page shows. Nobody has a name at the start.
A click is an answer, and in a batch each tick that is changed; a typed name counts as one too.
Constants were chosen on the people of `--half tuning`.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.small_lakes import HALVES, Source, small_lake
from pipeline.clustering.algorithms.settings import ClusterConfig
from pipeline.clustering.questions.answering import answer, name
from pipeline.clustering.questions.halves import Doubt, sides
from pipeline.clustering.questions.question import Question
from pipeline.clustering.questions.queue import Queue
from pipeline.clustering.run import Run
from pipeline.evaluation.measures.clustering import Contingency
from pipeline.lake.checkpoints import in_process
from pipeline.lake.lookup import vectors_by_face
from pipeline.people import actions
from pipeline.people.answers import different, open_suggestions, together
from pipeline.people.store import People
from pipeline.people.view import view

GOALS = (0.95, 0.98, 0.99, 0.995)
SHOWN = 10


@dataclass
class Reviewer:
    """Somebody who knows the people by their faces.

    Attributes:
        people: of the lake.
        label: person of each labelled face; others are strangers, each somebody else.
        errs: how often an answer is wrong.
        clicks, answers, pictures, followed, wrongly: what it took, and what came of it.
    """

    people: People
    label: dict[str, str]
    errs: float = 0.0
    clicks: int = 0
    answers: int = 0
    pictures: int = 0
    followed: int = 0
    wrongly: int = 0
    kinds: Counter = field(default_factory=Counter)
    calibration: list = field(default_factory=list)

    def __post_init__(self):
        self.random = np.random.default_rng(0)
        vectors = vectors_by_face(self.people.lake, [
            row["face_id"] for row in self.people.clusters(["face_id"]).to_pylist()])  # fmt: skip
        self.read = lambda faces: {face: vectors[face] for face in faces if face in vectors}
        rows = self.people.clusters(["face_id", "person_id"]).to_pylist()
        self.known = [row["face_id"] for row in rows if row["face_id"] in self.label]

    def who(self, faces, fallback):
        """Return who most of the shown faces are."""
        self.pictures += len(faces)
        found = Counter(self.label[face] for face in faces if face in self.label)
        return found.most_common(1)[0][0] if found else f"stranger {fallback}"

    def says(self, truth):
        return bool(truth) != (self.random.random() < self.errs)

    def quality(self, now):
        where = now.persons_of(self.known)
        labels = [self.label[face] for face in self.known]
        return Contingency.of(labels, [where[f] or f for f in self.known]).rates()["bcubed_f"]


def asked(reviewer):
    """Answer the questions of the queue; yield after each."""
    people = reviewer.people
    queue = Queue(people, view(people), reviewer.read)
    while queue.near.more():
        pass
    queue.refresh(queue.now)
    yield queue.now
    while found := queue.next(1):
        question = found[0]
        before = view(people)
        answered(reviewer, queue, question)
        reviewer.answers += 1
        reviewer.kinds[question.kind] += 1
        now = view(people)
        check_followers(reviewer, queue, before, now)
        queue.refresh(now)
        yield now


def answered(reviewer, queue, question: Question):
    """Answer one question by the faces that it shows."""
    truth = reviewer.who(question.left_faces, question.left)
    reviewer.clicks += 1
    if question.kind in ("same", "half"):
        other = reviewer.who(question.right_faces, f"{question.right} 2")
        reviewer.calibration.append((question.kind, question.probability, truth == other))
        said = reviewer.says(truth == other)
        reviewer.last = answer(queue, question, "yes" if said else "no")
        return
    right = []
    for one in question.candidates:
        same = reviewer.who(one.faces, one.key) == truth
        reviewer.calibration.append((question.kind, one.probability, same))
        if same if question.kind == "who" else reviewer.says(same):
            right.append(one.key)
    if question.kind == "who" and question.candidates and not reviewer.says(True):
        right = [reviewer.random.choice([one.key for one in question.candidates])]
    if question.kind == "batch":
        if right:
            reviewer.clicks += len(set(right) ^ set(question.ticked))
        reviewer.last = answer(queue, question, "yes" if right else "no", right)
    elif right:
        reviewer.last = answer(queue, question, "yes", right[:1])
    else:
        reviewer.last = name(queue, question, truth)


def named(reviewer, now, person, text):
    """Type a name: that of somebody who is there adds the faces to that person."""
    known = [one for one in now.called(text) if one != person]
    if known:
        actions.merge(reviewer.people, [known[0], person], "question: name")
    else:
        actions.name(reviewer.people, person, text, "question: name")


def check_followers(reviewer, queue, before, now):
    """Count who followed, and wrongly."""
    for person in reviewer.last.followed.values() if reviewer.last else ():
        own = {row["face_id"] for row in before.faces(person)}
        target = now.merged.get(person, person)
        rest = {row["face_id"] for row in now.faces(target)} - own
        who = [Counter(reviewer.label[f] for f in faces if f in reviewer.label).most_common(1)
               for faces in (own, rest)]  # fmt: skip
        reviewer.followed += 1
        reviewer.wrongly += not (who[0] and who[1] and who[0][0][0] == who[1][0][0])


def before_the_queue(reviewer):
    """Answer suggestions by doubt, then name people by size, as before; yield after each."""
    people, now = reviewer.people, view(reviewer.people)
    queue = Queue(people, now, reviewer.read)
    yield now
    while rows := open_suggestions(people, now):
        row = rows[0]
        person, faces = row["person_a"], (row["face_a"], row["face_b"])
        if row["kind"] == "merged":
            queue.now = now
            parted = sides(queue.persons, now, Doubt(person, faces, 0.5))
        else:
            parted = [now.person(row[side])["exemplars"] for side in ("person_a", "person_b")]
        who = [reviewer.who(side[:SHOWN], n) for n, side in enumerate(parted)]
        same = reviewer.says(who[0] == who[1])
        if row["kind"] == "merged" and same:
            together(people, person, faces)
        elif row["kind"] == "merged":
            actions.split(people, person, parted[1], None, None, parted[0][:SHOWN])
        elif same:
            actions.merge(people, [person, row["person_b"]])
        else:
            different(people, person, row["person_b"])
        reviewer.clicks, reviewer.answers = reviewer.clicks + 1, reviewer.answers + 1
        now = view(people)
        yield now
    while True:
        order = [("faces", "descending"), ("person_id", "ascending")]
        rows = now.people.sort_by(order).to_pylist()
        row = next((row for row in rows if row["name"] is None), None)
        if row is None:
            return
        named(reviewer, now, row["person_id"],
              reviewer.who(row["exemplars"][:6], row["person_id"]))  # fmt: skip
        reviewer.clicks, reviewer.answers = reviewer.clicks + 1, reviewer.answers + 1
        now = view(people)
        yield now


def curve(source, how, most, errs=0.0):
    """Return clicks, answers and BCubed F after each answer, and the reviewer."""
    with tempfile.TemporaryDirectory() as folder:
        photos = [photo for own in source.photos.values() for photo in own]
        people = small_lake(source, photos, folder)
        Run(people, ClusterConfig(full=True), in_process, "run").cluster()
        reviewer = Reviewer(people, source.label, errs)
        points = []
        for now in how(reviewer):
            points.append((reviewer.clicks, reviewer.answers, reviewer.pictures,
                           reviewer.quality(now)))  # fmt: skip
            if points[-1][3] >= GOALS[-1] or reviewer.answers >= most:
                break
        return points, reviewer


def reached(points, goal):
    """Return clicks (answers, pictures) until a quality, or what it ended with."""
    for clicks, answers, pictures, quality in points:
        if quality >= goal:
            return f"{clicks} ({answers}; {pictures})"
    return "not"


def show(name, points, reviewer):
    cells = " | ".join(reached(points, goal) for goal in GOALS)
    print(f"| {name} | {points[0][3]:.4f} | {cells} | {points[-1][3]:.4f} after "
          f"{points[-1][0]} |", flush=True)  # fmt: skip
    marks = [at for at in (0, 5, 10, 20, 40, 80, 160, 320) if at < len(points)]
    points_shown = ", ".join(f"{points[at][0]}: {points[at][3]:.4f}" for at in marks)
    print(f"   curve: {points_shown}; {dict(reviewer.kinds)}; followed {reviewer.followed}, "
          f"wrongly {reviewer.wrongly}")  # fmt: skip


def calibrated(reviewer):
    """Print how often questions of a chance were answered yes."""
    edges = (0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.01)
    for kind in sorted({one[0] for one in reviewer.calibration}):
        rows = np.array([one[1:] for one in reviewer.calibration if one[0] == kind], float)
        cells = []
        for low, high in pairwise(edges):
            inside = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)]
            if len(inside):
                cells.append(f"{low}-{high}: {len(inside)}, {inside[:, 0].mean():.3f}, "
                             f"{inside[:, 1].mean():.3f}")  # fmt: skip
        print(f"   {kind}: " + "; ".join(cells))


def reviews(options):
    """Compare on both sets."""
    half = None if options.half == "all" else options.half
    print("| set, order | start | " + " | ".join(f"F {goal}" for goal in GOALS) + " | end |")
    print("|---" * (len(GOALS) + 3) + "|")
    for path, data in ((options.lfw, "lfw-dev"), (options.wild, "wild-dev")):
        source = Source.of(path, data, half)
        for words, how, errs in (("queue", asked, 0.0), ("queue, 1 % errors", asked, 0.01),
                                 ("before", before_the_queue, 0.0)):  # fmt: skip
            if options.only and words not in options.only:
                continue
            points, reviewer = curve(source, how, options.most, errs)
            show(f"{data}, {words}", points, reviewer)
            if options.calibration:
                calibrated(reviewer)


def speed(options):
    """Time the queue of a large synthetic lake."""
    from benchmarks.review import make

    with tempfile.TemporaryDirectory() as folder:
        lake = Path(options.folder or folder) / "lake"
        if not lake.exists():
            make(lake, options.faces, 5_000)
        from pipeline.lake.store import LakeStore

        people = People(LakeStore(str(lake)))
        timed("view", lambda: view(people))
        now = view(people)
        queue = timed("queue made", lambda: Queue(people, now))
        timed("first question", lambda: queue.next(1))
        blocks = []
        while queue.near.open:
            start = time.perf_counter()
            queue.next(1)
            blocks.append(time.perf_counter() - start)
        print(f"{len(blocks)} more blocks, longest {max(blocks, default=0):.2f} s")
        took = []
        for kind in ("batch", "same", "who", "batch", "same", "who") * 3:
            question = queue.next(1, kind)[0]
            if question.kind == "who" and not question.candidates:
                name(queue, question, f"Somebody {len(took)}")
            else:
                answer(queue, question, "yes", [one.key for one in question.candidates][:1])
            start = time.perf_counter()
            now = view(people)
            middle = time.perf_counter()
            queue.refresh(now)
            queue.next(1)
            queue.progress()
            took.append((middle - start, time.perf_counter() - middle))
        print("after an answer: view, queue:", np.median(took, axis=0), np.max(took, axis=0))


def timed(what, do):
    start = time.perf_counter()
    made = do()
    print(f"{what}: {time.perf_counter() - start:.2f} s", flush=True)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    if sys.argv[1:2] == ["speed"]:
        parser.add_argument("what")
        parser.add_argument("--faces", type=int, default=100_000)
        parser.add_argument("--folder", help="keep the lake here, use it if it is there")
        return speed(parser.parse_args())
    parser.add_argument("lfw", help="lake of lfw-dev")
    parser.add_argument("wild", help="lake of wild-dev")
    parser.add_argument("--half", choices=(*HALVES, "all"), default="reporting")
    parser.add_argument("--most", type=int, default=600, help="answers at most")
    parser.add_argument("--only", nargs="*", help="orders to run")
    parser.add_argument("--calibration", action="store_true")
    return reviews(parser.parse_args())


if __name__ == "__main__":
    main()
