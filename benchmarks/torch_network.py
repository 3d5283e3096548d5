"""The same network in PyTorch: the rival of `training.py`, and the proof that it is the same network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from crnn_weak.config import Config

__all__ = ["TorchNetwork", "copy_weights", "train_step"]


class TorchNetwork(nn.Module):
    """Preset and head as in `crnn_weak.model.crnn.build_model`; scores of ``strong`` and ``weak``.

    Written as one would for PyTorch: ``nn.GRU`` (its own fused recurrence), the ReLU behind the pooling as ours.
    """

    def __init__(self, config: Config, *, channels_last: bool = False) -> None:
        super().__init__()
        model = config.model
        self.channels_last = channels_last
        blocks: list[nn.Module] = []
        n_in, n_bands = 1, config.features.n_mels
        for pool in model.pools:
            blocks += [
                nn.Conv2d(n_in, model.n_filters, model.kernel_size, padding="same"),
                nn.BatchNorm2d(model.n_filters, eps=1e-3, momentum=0.01),
                nn.MaxPool2d((1, pool)),
                nn.ReLU(),
                nn.Dropout(model.dropout),
            ]
            n_in, n_bands = model.n_filters, n_bands // pool
        self.blocks = nn.Sequential(*blocks)
        width = n_bands * model.n_filters
        self.recurrent = nn.ModuleList()
        for units in model.gru_units:
            self.recurrent.append(nn.GRU(width, units, batch_first=True, bidirectional=True))
            width = 2 * units
        self.dense = nn.Linear(width, model.dense_units)
        n_classes = 17
        self.strong = nn.Linear(model.dense_units, n_classes)
        self.weak = nn.Linear(n_classes, n_classes) if model.weak_head == "max_dense" else None
        if channels_last:
            self.blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, log_mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = log_mel[:, None]  # (clips, 1, frames, bands)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.blocks(x)  # (clips, filters, frames, bands)
        x = x.permute(0, 2, 3, 1).flatten(2)
        for gru in self.recurrent:
            x, _ = gru(x)
        strong = torch.sigmoid(self.strong(self.dense(x)))
        weak = strong.amax(dim=1)
        return strong, weak if self.weak is None else torch.sigmoid(self.weak(weak))


def train_step(
    network: TorchNetwork, optimizer: torch.optim.Optimizer, inputs: np.ndarray, targets: dict[str, np.ndarray]
) -> torch.Tensor:
    """Do one step of the optimizer on the sum of both mean cross-entropies."""
    optimizer.zero_grad(set_to_none=True)
    strong, weak = network(torch.from_numpy(inputs))
    loss = nn.functional.binary_cross_entropy(strong, torch.from_numpy(targets["strong"]))
    loss = loss + nn.functional.binary_cross_entropy(weak, torch.from_numpy(targets["weak"]))
    loss.backward()
    optimizer.step()
    return loss.detach()


def copy_weights(model: Any, network: TorchNetwork) -> None:
    """Give the PyTorch network the weights of the Keras one."""

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))

    def gates(values: np.ndarray) -> torch.Tensor:
        """Keras orders update, reset, candidate; PyTorch reset, update, candidate."""
        update, reset, candidate = np.split(values, 3, axis=-1)
        return tensor(np.concatenate([reset, update, candidate], axis=-1).T)

    layers = iter(model.layers)
    named = {layer.name: [np.asarray(w) for w in layer.get_weights()] for layer in layers}
    with torch.no_grad():
        modules = list(network.blocks)
        for index in range(len(modules) // 5):
            convolution: Any = modules[5 * index]
            norm: Any = modules[5 * index + 1]
            kernel, bias = named[f"conv_{index + 1}"]
            convolution.weight.copy_(tensor(kernel.transpose(3, 2, 0, 1)))
            convolution.bias.copy_(tensor(bias))
            for mine, value in zip(
                (norm.weight, norm.bias, norm.running_mean, norm.running_var),
                named[f"batch_norm_{index + 1}"],
                strict=True,
            ):
                mine.copy_(tensor(value))
        for index, gru in enumerate(network.recurrent):
            weights = named[f"bidirectional_{index + 1}"]
            for suffix, (kernel, recurrent, bias) in (("", weights[:3]), ("_reverse", weights[3:])):
                getattr(gru, f"weight_ih_l0{suffix}").copy_(gates(kernel))
                getattr(gru, f"weight_hh_l0{suffix}").copy_(gates(recurrent))
                getattr(gru, f"bias_ih_l0{suffix}").copy_(gates(bias[0]))
                getattr(gru, f"bias_hh_l0{suffix}").copy_(gates(bias[1]))
        linear = [(network.dense, "time_dense"), (network.strong, "strong"), (network.weak, "weak")]
        for module, name in linear:
            if module is not None:
                module.weight.copy_(tensor(named[name][0].T))
                module.bias.copy_(tensor(named[name][1]))
