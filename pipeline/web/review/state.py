"""The state of the running review pages: the lake, who is who, and messages of recent actions."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.clustering.questions.answering import Answered
from pipeline.clustering.questions.question import Kind, Progress, Question
from pipeline.clustering.questions.queue import Queue
from pipeline.errors import ConfigError
from pipeline.lake.manifest import read_config
from pipeline.lake.store import LakeStore
from pipeline.models.weights.store import WeightStore
from pipeline.people.corrections import Constraint, undone
from pipeline.people.kept import KeptPeople
from pipeline.people.log import undo
from pipeline.people.table import marks_changed
from pipeline.people.view import view
from pipeline.sources.originals import Originals
from pipeline.web.pages import plural
from pipeline.web.review.finder import Finder
from pipeline.web.review.lookup import Lookup, vectors_of
from pipeline.web.review.pictures import Pictures
from pipeline.web.review.settings import ReviewConfig
from pipeline.web.review.snapshot import Snapshot

if TYPE_CHECKING:
    from pipeline.people.marks.marker import Marker

logger = logging.getLogger(__name__)
KEPT_MESSAGES = 200

Answering = Callable[[Queue, Question], Answered]


class Review:
    """The state behind the pages; threads may share it.

    Args:
        lake: to review.
        config: says who may see it.
        options: storage options of photos at URLs.
        store: where weights lie, for searching by a picture.
        embedder: path of the lake's embedder, if Facelake does not know it by name.
    """

    def __init__(
        self,
        lake: LakeStore,
        config: ReviewConfig,
        options: Mapping[str, Any] | None = None,
        store: WeightStore | None = None,
        embedder: str | None = None,
    ) -> None:
        self.lake = lake
        self.config = config
        self.people = KeptPeople(lake)
        self.lookup = Lookup(lake)
        self.originals = Originals(options, read_config(lake))
        self.pictures = Pictures(self.lookup, self.originals)
        self.finder = Finder(lake, store, embedder, self.people)
        self._marker: Marker | None = None
        self._lock = threading.RLock()
        self._snapshot: Snapshot | None = None
        self._messages: OrderedDict[str, str] = OrderedDict()
        self._followed: dict[str, list[tuple[str, str]]] = {}
        self._answers: list[str] = []
        self._queue: Queue | None = None

    @property
    def marker(self) -> "Marker":
        """What keeps faces that somebody drew; its models are loaded by the first."""
        from pipeline.people.marks.marker import Marker

        with self._lock:
            if self._marker is None:
                self._marker = Marker(self.people, self.originals, self.finder.models)
            return self._marker

    def undo(self, constraint_id: str | None, note: str) -> Constraint:
        """Take an action back; a face that it had marked goes, or comes back, with it."""
        done = undo(self.people, constraint_id, note)
        if marks_changed(self.people, done):
            self.marker.restore_now()
        return done

    def close(self) -> None:
        """End the processes that decode."""
        if self._marker is not None:
            self._marker.close()
        self.originals.close()
        self.finder.close()

    def snapshot(self) -> Snapshot:
        """Return who is who, corrections included; read again when anything has changed.

        Raises:
            ConfigError: nobody has clustered this lake yet.
        """
        with self._lock:
            key = self._key()
            if self._snapshot is None or self._snapshot.key != key:
                if self._snapshot is None or self._snapshot.key[0] != key[0]:
                    self.lookup.refresh()  # clustering ran: there may be new photos
                self._snapshot = Snapshot(self.people, view(self.people), key)
            return self._snapshot

    def _key(self) -> tuple[str, frozenset[tuple[str, int]]]:
        """Return what the view depends on: the clustering, and the files of corrections."""
        current = self.people.current_or_none() or {}
        files = self.people.constraint_sizes()
        return str(current.get("run_id")), frozenset(files.items())

    def version(self) -> str:
        """Return what changes with every correction and every clustering."""
        run, files = self._key()
        return f"{max((name for name, _ in files), default='')}@{run}"

    def queue(self) -> Queue:
        """Return the questions, up to date with who is who.

        Raises:
            ConfigError: nobody has clustered this lake yet.
        """
        with self._lock:
            snapshot = self.snapshot()
            if self._queue is None or self._queue.run_id != snapshot.key[0]:
                read = partial(vectors_of, self.lookup)
                self._queue = Queue(self.people, snapshot.view, read)
            elif self._queue.now is not snapshot.view:
                self._queue.refresh(snapshot.view)
            return self._queue

    def questions(self, at: int, kind: Kind | None) -> tuple[Question | None, Progress]:
        """Return the question at a place of the queue, None behind its end, and the progress."""
        with self._lock:
            queue = self.queue()
            found = queue.next(at + 1, kind)
            return found[at] if at < len(found) else None, queue.progress()

    def answer(self, question_id: str, how: Answering, text: str) -> str:
        """Answer a question; return the id of a message: `text`, and what followed.

        Raises:
            ConfigError: it is answered, or not a question of this run.
        """
        with self._lock:
            queue = self.queue()
            question = queue.find(question_id)
            if question is None:
                raise ConfigError("This question is not open any more; load the page again")
            followed: list[tuple[str, str]] = []

            def action() -> Constraint:
                answered = how(queue, question)
                for correction, person in answered.followed.items():
                    followed.append((correction, next(iter(queue.faces(person)), "")))
                return answered.correction

            message_id = self.act(action, text)
            if followed:
                count = plural(len(followed), "other")
                self._messages[message_id] = f"{text}, and {count} followed"
                self._followed[message_id] = followed
            self._answers.append(message_id)
            return message_id

    @property
    def last_answer(self) -> str | None:
        """The last answer of this run that was not taken back; None: there is none."""
        with self._lock:
            gone = undone(self.people.constraints()) if self._answers else frozenset()
            return next((one for one in reversed(self._answers) if one not in gone), None)

    def followed(self, message_id: str) -> list[tuple[str, str]]:
        """Return what followed from an answer: the correction, and a face of each person."""
        with self._lock:
            return self._followed.get(message_id, [])

    def act(self, action: Callable[[], Constraint], message: str) -> str:
        """Do an action, one at a time, and return the id under which `message` is kept."""
        with self._lock:
            correction = action()
            self._messages[correction.constraint_id] = message
            while len(self._messages) > KEPT_MESSAGES:
                self._followed.pop(self._messages.popitem(last=False)[0], None)
            return correction.constraint_id

    def message(self, constraint_id: str) -> str | None:
        """Return the message of an action of this run."""
        with self._lock:
            return self._messages.get(constraint_id)
