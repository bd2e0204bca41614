"""Compiles loops to machine code with Numba, where NumPy would write every step to memory.

Code is compiled at the first call, about a second a function, or by `prepare`. It is kept for later
processes beside the source or, where that folder is read-only, in the user's cache folder
($NUMBA_CACHE_DIR comes before both). Where none can be written every process compiles for itself.
"""

from collections.abc import Callable
from typing import TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; results are those of plain IEEE arithmetic."""
    return _compile(function, contract=False)


def compiled_contracting(function: Function) -> Function:
    """Compile likewise, but let a product and a sum become one operation that rounds once.

    Twice as fast where products are summed up, and closer to the true sum; not equal, bit for
    bit, on all machines.
    """
    return _compile(function, contract=True)


def _compile(function: Function, *, contract: bool) -> Function:
    # callers check sizes, as they do for NumPy; a division by zero gives what NumPy gives
    options = {
        "error_model": "numpy",
        "nogil": True,
        "fastmath": {"contract"} if contract else False,
    }
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder to keep the code in
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
