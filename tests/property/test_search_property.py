"""Exact search equals numpy, however faces are spread over parts."""

import tempfile

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lake import schema
from pipeline.lake.store import LakeStore, Models
from pipeline.search import Searcher
from pipeline.search.topk import TopK

DIMENSION = 8


def write(folder, vectors, cuts):
    lake = LakeStore(folder)
    lake.claim(Models("d@1", "e@1", DIMENSION))
    ids = [f"{i:032x}" for i in range(len(vectors))]
    for start, end in zip([0, *cuts], [*cuts, len(vectors)], strict=True):
        if start == end:
            continue
        images = [{"image_id": i, "uri": i, "faces": 1, "run_id": "r"} for i in ids[start:end]]
        faces = [
            {"face_id": f"{ids[i]}-0", "image_id": ids[i], "uri": ids[i], "box": [0.0] * 4,
             "landmarks": [0.0] * 10, "score": 1.0, "size_px": 9.0,
             "embedding": vectors[i].tolist(), "detector": "d@1", "embedder": "e@1",
             "run_id": "r"}
            for i in range(start, end)
        ]  # fmt: skip
        lake.publish_part(
            pa.Table.from_pylist(images, schema.IMAGES),
            pa.Table.from_pylist(faces, schema.faces_schema(DIMENSION)),
        )
    return lake


@st.composite
def lakes(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    count = draw(st.integers(1, 40))
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, DIMENSION)).astype(np.float32)
    copies = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))))
    for one, other in copies:  # equal vectors: the face id decides
        vectors[one] = vectors[other]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=5)))
    return vectors, cuts, draw(st.integers(1, count + 3))


@settings(max_examples=40, deadline=None)
@given(lakes())
def test_exact_search_equals_numpy(case):
    vectors, cuts, k = case
    queries = vectors[:3]
    with tempfile.TemporaryDirectory() as folder:
        found = Searcher(write(folder, vectors, cuts), exact=True).nearest(queries, k)
    for query, hits in zip(queries, found, strict=True):
        scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
        rows = sorted(range(len(vectors)), key=lambda i: (-scores[i], f"{i:032x}"))[:k]
        assert [hit.face_id for hit in hits] == [f"{i:032x}-0" for i in rows]
        assert [hit.similarity for hit in hits] == scores[rows].tolist()


@settings(max_examples=60, deadline=None)
@given(lakes())
def test_blocks_do_not_matter(case):
    vectors, cuts, k = case
    names = pa.array([f"f{i:03}" for i in range(len(vectors))])
    whole, pieces = TopK(vectors[:2], k), TopK(vectors[:2], k)
    whole.add("p", names, vectors)
    for start, end in reversed(list(zip([0, *cuts], [*cuts, len(vectors)], strict=True))):
        pieces.add("p", names[start:end], vectors[start:end])
    assert whole.hits == pieces.hits
