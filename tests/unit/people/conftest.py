"""What tests of people share."""

import pytest

from pipeline.people.marks.marker import Marker
from pipeline.sources.originals import Originals
from tests.support.marking import FakeModels
from tests.support.review_lakes import review_lake


@pytest.fixture
def people(tmp_path):
    return review_lake(tmp_path, people=3, each=4)


@pytest.fixture
def marker(people):
    with Originals() as originals, Marker(people, originals, FakeModels()) as one:
        yield one
