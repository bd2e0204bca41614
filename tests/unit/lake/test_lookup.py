"""Images by any of their names."""

import pytest

from pipeline.lake.lookup import find_images
from tests.support.pictures import lake_of, row

URIS = ["/p/2004/may/a.jpg", "/p/2005/may/a.jpg", "/p/shard.tar#2004/b.png", "/p/José.jpg"]


@pytest.mark.parametrize(
    ("name", "uris"),
    [
        ("/p/2004/may/a.jpg", URIS[:1]),
        ("2004/may/a.jpg", URIS[:1]),
        ("./2004/may/a.jpg", URIS[:1]),
        ("2004\\may\\a.jpg", URIS[:1]),
        ("2005/may/a", URIS[1:2]),
        ("may/a.jpg", URIS[:2]),
        ("4/may/a.jpg", []),
        ("a.jpg", URIS[:2]),
        ("2004/b.png", URIS[2:3]),
        ("shard.tar/2004/b.png", URIS[2:3]),
        ("Jose\u0301.jpg", URIS[3:]),
        ("elsewhere/a.jpg", []),
        ("", []),
    ],
)
def test_a_name_finds_its_images(tmp_path, name, uris):
    lake = lake_of(tmp_path / "lake", [row(uri) for uri in URIS])
    ids = dict(zip(*lake.read("images", ["uri", "image_id"]).to_pydict().values(), strict=True))
    assert find_images(lake)(name) == {ids[uri] for uri in uris}
