"""Reads torch checkpoints without executing code from them."""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pipeline.arrays import Floats32
from pipeline.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor


def read_checkpoint(path: Path) -> "dict[str, Tensor]":
    """Read a state_dict, of the zip or the older pickle format, to the CPU.

    Raises:
        WeightsError: the file is damaged, holds anything but tensors by name, or asks for
            code to be run, which is refused.
    """
    import torch  # not above: a second that who only plans to read one need not wait

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist") from error
    except Exception as error:  # a hostile or torn file can raise anything inside torch.load
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path} is no torch checkpoint of plain tensors: {reason[:300]}. "
            "Facelake never runs code from weights; save the model's state_dict() alone."
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise WeightsError(
            f"{path} holds no state_dict (tensors by name); save the model's state_dict() alone."
        )
    return dict(state)


# A file of torch before 1.6 begins with this number, pickled.
OLDER = pickle.dumps(0x1950A86A20F9469CFC6C, 2)


def read_arrays(path: Path) -> Mapping[str, Floats32]:
    """Read a state_dict of float32 as arrays; of the older format without torch.

    To import torch takes a second, which a worker that needs nothing else of it saves.

    Raises:
        WeightsError: as `read_checkpoint`.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(OLDER)) == OLDER:
                return _older(file)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist") from error
    except Exception as error:  # as in `read_checkpoint`
        raise WeightsError(f"{path} is no torch checkpoint of plain tensors: {error}") from error
    return {name: tensor.numpy() for name, tensor in read_checkpoint(path).items()}


def _older(file: BinaryIO) -> dict[str, Floats32]:
    """Read what comes behind the first number: four pickles, then storages, count and numbers."""
    unpicklers = [_Unpickler(file) for _ in range(4)]
    _version, _machine, state, keys = (unpickler.load() for unpickler in unpicklers)
    for key in keys:
        storage = unpicklers[2].storages[key]
        count = int.from_bytes(file.read(8), "little")
        data = file.read(storage.nbytes)
        if count != len(storage) or len(data) != storage.nbytes:
            raise ValueError("it is torn")
        storage[:] = np.frombuffer(data, storage.dtype)
    return dict(state)


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors by name, and nothing else; their storages are filled afterwards."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, Floats32] = {}

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return what stands for the few names that such a file needs."""
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch", "FloatStorage"): np.float32,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known[module, name]

    def persistent_load(self, saved: Any) -> Floats32:
        """Return the storage that a tensor is a view of."""
        _word, kind, key, _device, count, *_view = saved
        return self.storages.setdefault(key, np.empty(count, kind))


def _tensor(
    storage: Floats32, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Floats32:
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if offset < 0 or min((*size, *stride), default=1) < 0 or last >= len(storage):
        raise ValueError("a tensor leaves its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps)
