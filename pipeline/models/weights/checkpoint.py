"""Reads torch checkpoints without executing code from them."""

from pathlib import Path
from typing import TYPE_CHECKING

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
