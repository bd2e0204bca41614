"""Devices of torch: which there are, and float32 that stays float32 on them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.errors import ResourceError


@contextmanager
def exact() -> Iterator[None]:
    """Keep convolutions in float32 from being rounded to TF32, as cuDNN has it by default.

    TF32 has ten bits behind the point: boxes would move by tenths of a pixel.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=False,
    ):
        yield


def usable(device: str | torch.device) -> torch.device:
    """Return a device of torch, a GPU with its index.

    Raises:
        ResourceError: it is not there.
    """
    try:
        resolved = torch.device(device)
        if resolved.type == "cuda":
            # threads have a current device each: name it
            index = torch.cuda.current_device() if resolved.index is None else resolved.index
            resolved = torch.device("cuda", index)
            torch.cuda.get_device_properties(resolved)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it has CUDA
        raise ResourceError(f"Cannot use the device {str(device)!r}: {error}") from error
    return resolved
