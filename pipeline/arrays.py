"""Names of the array types that all rooms share; their shapes stand in the docstrings."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]
