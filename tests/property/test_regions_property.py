"""Face regions: boxes come back, whatever way the photo is turned."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pipeline.people.xmp.packet import packet
from pipeline.people.xmp.reader import parse
from pipeline.people.xmp.regions import Frame

sides = st.integers(16, 20_000)
shares = st.floats(0, 1)


@given(sides, sides, st.integers(1, 8), st.lists(shares, min_size=4, max_size=4))
def test_a_box_comes_back(width, height, orientation, corners):
    frame = Frame(width, height, orientation)
    x1, x2 = sorted((corners[0] * width, corners[1] * width))
    y1, y2 = sorted((corners[2] * height, corners[3] * height))
    region = frame.region("Ann", (x1, y1, x2, y2))
    if region is None:
        assert x2 - x1 == 0 or y2 - y1 == 0
        return
    assert region.x - region.w / 2 + 1e-9 >= 0
    assert region.x + region.w / 2 <= 1 + 1e-9
    assert frame.box(region) == pytest.approx((x1, y1, x2, y2), abs=1e-6 * max(width, height))


@given(
    st.integers(1, 8),
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1),
)
def test_a_sidecar_says_the_same(orientation, name):
    frame = Frame(4000, 3000, orientation)
    region = frame.region(name, (100, 200, 900, 1200))
    assert region is not None
    sidecar = parse(packet([region], frame))
    assert sidecar.applied == frame.stored
    (read,) = sidecar.regions
    assert read.name == name.strip()
    assert frame.box(read) == pytest.approx((100, 200, 900, 1200), abs=0.01)
