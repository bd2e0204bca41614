"""Hashes of mirrored and turned pictures, made from the hashes of `phash.turnable` alone.

Bit (v, h) is the sign of the cosine coefficient of vertical frequency v + 1 and horizontal
frequency h + 1. Mirroring changes the sign of the odd horizontal frequencies (a property of the
DCT-II: cosine k read backwards is itself times (-1)^k), so their bits turn over; transposing a
picture transposes its coefficients.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.imaging.phash import FREQUENCIES, HASH_BYTES

Hashes = npt.NDArray[np.uint8]

_ODD = np.arange(1, FREQUENCIES + 1) % 2 == 1


@dataclass(frozen=True)
class Turn:
    """A way to look at a picture: transposed or not, then its sides exchanged or not.

    Attributes:
        name: what happened to one of two copies, for people.
        mutual: whether doing it twice changes nothing, so that it is seen from both sides alike.
    """

    name: str
    transposed: bool
    columns: bool
    rows: bool
    mutual: bool = True

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged, however the picture is then turned."""
        return self.transposed ^ self.columns ^ self.rows


MIRRORED = (Turn("mirrored", False, True, False),)
# A quarter turn the other way is the same pair, seen from its other side.
ROTATED = (
    Turn("turned by 180 degrees", False, True, True),
    Turn("turned by 90 degrees", True, True, False, mutual=False),
)
BOTH = (
    Turn("flipped", False, False, True),
    Turn("transposed", True, False, False),
    Turn("transposed across", True, True, True),
)


def turns(mirrored: bool, rotated: bool) -> tuple[Turn, ...]:
    """Return what copies may have been turned by, beside not at all."""
    return (
        *(MIRRORED if mirrored else ()),
        *(ROTATED if rotated else ()),
        *(BOTH if mirrored and rotated else ()),
    )


def turned(hashes: Hashes, turn: Turn) -> Hashes:
    """Return the hashes [N, 32] of the pictures after `turn`."""
    bits = np.unpackbits(hashes, axis=1)[:, ::-1].reshape(-1, FREQUENCIES, FREQUENCIES)
    if turn.transposed:
        bits = bits.swapaxes(1, 2)
    if turn.columns:
        bits = bits ^ _ODD[np.newaxis, np.newaxis, :]
    if turn.rows:
        bits = bits ^ _ODD[np.newaxis, :, np.newaxis]
    packed = np.packbits(bits.reshape(-1, HASH_BYTES * 8)[:, ::-1], axis=1)
    return np.ascontiguousarray(packed)
