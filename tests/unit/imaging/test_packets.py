"""XMP packets are found in every container, and nothing that a file holds makes it raise."""

import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.imaging.packets import packets
from pipeline.imaging.xmp import MAX_PACKET_BYTES
from tests.support import packets as files
from tests.support.packets import CONTAINERS

# Bytes that are no padding at either end.
PACKETS = st.binary(min_size=3, max_size=3000).map(lambda inner: b"<" + inner + b">")
MAIN = b'<x xmpNote:HasExtendedXMP="%s"/>'


@pytest.mark.parametrize("container", CONTAINERS)
@given(packet=PACKETS)
def test_a_packet_is_found_in_each_container(container, packet):
    assert packets(CONTAINERS[container](packet)) == [packet]


@given(packet=PACKETS, piece=st.integers(1, 900), backwards=st.booleans())
def test_a_packet_that_was_split_is_joined(packet, piece, backwards):
    data = files.extended_jpeg(MAIN, packet * 3, piece=piece, backwards=backwards)
    assert packets(data)[1:] == [packet * 3]


def test_an_element_may_name_the_extension_as_well():
    main = b"<xmpNote:HasExtendedXMP>%s</xmpNote:HasExtendedXMP>"
    assert packets(files.extended_jpeg(main, b"<more/>"))[1:] == [b"<more/>"]


def test_parts_of_another_packet_or_with_gaps_are_left_out():
    other = files.extended_jpeg(MAIN, b"<more/>", digest=b"0" * 32)
    assert len(packets(other)) == 1
    whole = files.extended_jpeg(MAIN, b"<more/>" * 100, piece=300)
    at = whole.index(files.EXTENSION_NAME) - 4
    size = int.from_bytes(whole[at + 2 : at + 4], "big") + 2
    assert len(packets(whole[:at] + whole[at + size :])) == 1


@pytest.mark.parametrize("container", CONTAINERS)
def test_padding_and_nothing(container):
    assert packets(CONTAINERS[container](b"  \n<a/>\n   \0\0")) == [b"<a/>"]
    assert packets(CONTAINERS[container](b" \n \n ")) == []


@pytest.mark.parametrize("container", CONTAINERS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_never_raise(container, data):
    whole = bytearray(CONTAINERS[container](b"<packet>" * 20))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for found in packets(bytes(whole[:cut])):
        assert len(found) <= MAX_PACKET_BYTES


def test_a_packet_of_megabytes_is_found_and_a_huge_one_passed_over():
    history = b"<" + b"h" * (3 << 20) + b">"
    for container in ("tiff", "BigTIFF", "heic", "webp", "png, packed"):
        assert packets(CONTAINERS[container](history)) == [history], container
    huge = b"<" + b"h" * MAX_PACKET_BYTES + b">"
    for container in ("tiff", "heic", "webp", "cr3"):
        assert packets(CONTAINERS[container](huge)) == [], container


def test_bombs_take_little_memory():
    many = (b"\xff\xff\xff\xff\x00\x00\x00\x00") * 2000
    extents = files.heif(b"<x>", pieces=3)
    bombs = [
        files.png(b"<" + bytes(200 << 20) + b">", packed=True),
        extents.replace(b"\x00\x44\x00", b"\x00\x44\x00" + many),
        files.extended_jpeg(MAIN, b"<more/>").replace(
            b"\0\0\0\x07\0\0\0\0<more", b"\xff\xff\xff\xff\0\0\0\0<more"
        ),
    ]
    tracemalloc.start()
    for bomb in bombs:
        packets(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"II*\0", b"\xff\xd8\xff", b"RIFF0000WEBP", b"%PDF"]
)
def test_files_without_a_packet(data):
    assert packets(data) == []
