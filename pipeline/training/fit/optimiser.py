"""Optimisers, the learning rate of each step, and the mean of the weights."""

import copy
import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from pipeline.training.networks.network import Network
from pipeline.training.settings import NetworkConfig

MOMENTUM = 0.9
MILESTONES = (0.5, 0.75, 0.9)  # of the steps, where `step` goes to a tenth
SGD_RATE, SGD_BATCH, ADAMW_RATE = 0.1, 256, 1e-3


def highest_rate(config: NetworkConfig) -> float:
    """Return the learning rate at its highest.

    That of SGD grows with the batch (Goyal et al., "Accurate, Large Minibatch SGD", 2017).
    """
    if config.learning_rate is not None:
        return config.learning_rate
    return SGD_RATE * config.batch / SGD_BATCH if config.optimiser == "sgd" else ADAMW_RATE


def rate_at(config: NetworkConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step, counted from 0 over all epochs.

    Args:
        config: of the schedule.
        step: which.
        steps: of an epoch.
    """
    warm = round(config.warmup * steps)
    if step < warm:
        return highest_rate(config) * (step + 1) / warm
    done = (step - warm) / max(1, config.epochs * steps - warm)
    match config.schedule:
        case "cosine":
            share = (1 + math.cos(math.pi * min(1.0, done))) / 2
        case "step":
            share = 0.1 ** sum(done >= one for one in MILESTONES)
        case _:
            share = 1.0
    return highest_rate(config) * share


def optimiser_of(parameters: Iterable[nn.Parameter], config: NetworkConfig) -> Optimizer:
    """Return an optimiser of those parameters that learn.

    Biases, and the scales and slopes of norms and PReLUs, do not decay.
    """
    learning = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if config.optimiser == "adamw":
        return AdamW(groups, lr=highest_rate(config))
    return SGD(groups, lr=highest_rate(config), momentum=MOMENTUM)


class Mean:
    """The exponential mean of a network's weights, which is smoother than the last ones.

    Args:
        network: whose; it is copied.
        decay: of a step; fewer at the beginning, when there is little to keep.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the weights of `network`; norms have its statistics."""
        decay = min(self.decay, (1 + step) / (10 + step))
        now = network.state_dict()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(now[name], 1 - decay)
            else:
                value.copy_(now[name])
