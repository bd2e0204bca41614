"""Which runtime runs the networks on a CPU: OpenVINO where it is installed, else torch.

OpenVINO was chosen on measurements (docs/benchmarks.md): the fastest in float32, and the only one
with bfloat16 that keeps parity. `FACELAKE_RUNTIME=torch` does without it, for comparison.
"""

import importlib
import os
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any, Literal

import numpy as np

from pipeline.errors import ConfigError

Precision = Literal["float32", "bfloat16"]

VARIABLE = "FACELAKE_RUNTIME"
CHOICES = ("auto", "openvino", "torch")


@lru_cache(maxsize=1)
def openvino() -> ModuleType | None:
    """Return OpenVINO, None where it is not installed or not chosen.

    On import OpenVINO reports itself to its makers through a package of its own. People trust
    Facelake with their pictures: that package is kept from being module.

    Raises:
        ConfigError: the variable names no runtime, or one that is not installed.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise ConfigError(f"{VARIABLE} is {choice!r}; choose from {', '.join(CHOICES)}")
    if choice == "torch":
        return None
    # None in this place makes an import fail as if nothing were installed
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        if choice == "openvino":
            raise ConfigError(
                f"{VARIABLE}=openvino, but it does not import ({error}); "
                "pip install openvino, or unset the variable"
            ) from error
        return None


@lru_cache(maxsize=1)
def core() -> Any:
    """Return this process's one openvino.Core; OpenVINO must be there.

    There must be one that stays: each sets up a stack for signals, and when it ends restores the
    one before. Of several, the first to end frees a stack that another restores later, and the next
    signal ends the process.
    """
    module = openvino()
    assert module is not None
    return module.Core()


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 faster than float32, in OpenVINO."""
    if openvino() is None:
        return False
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Compiled:
    """A network in OpenVINO, on one thread by default.

    Args:
        model: openvino.Model of one input and one output.
    """

    def __init__(self, model: Any, precision: Precision = "float32", threads: int = 1) -> None:
        module = openvino()
        assert module is not None
        self._tensor = module.Tensor
        options = {
            # by default it would take bfloat16 wherever the CPU has it
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": str(threads),
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": "NO",  # workers would all be pinned to the same core
        }
        self._request = core().compile_model(model, "CPU", options).create_infer_request()

    def __call__(self, x: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
        """Map float32 [N, ...] to float32 [N, ...]; the result is overwritten by the next call."""
        self._request.set_input_tensor(self._tensor(x, shared_memory=True))
        self._request.infer()
        return self._request.get_output_tensor().data
