"""Looking for many byte strings at once finds what looking for each finds."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.maintenance.forget import needles
from pipeline.maintenance.forget.needles import Needles

small = st.binary(max_size=40).map(lambda data: bytes(byte % 3 for byte in data))


@given(data=st.lists(small, max_size=6).map(b"".join), wanted=st.lists(small, max_size=8))
def test_what_is_found_is_what_is_there(data, wanted):
    """Few different bytes, so that heads are shared and strings overlap; and in small chunks."""
    named = [(str(number), one) for number, one in enumerate(wanted) if one]
    expected = {what for what, one in named if one in data}
    assert Needles(named).found_in(data) == expected
    chunk, needles.CHUNK = needles.CHUNK, 5
    try:
        assert Needles(named).found_in(data) == expected
    finally:
        needles.CHUNK = chunk
