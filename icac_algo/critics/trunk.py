"""Layers of several critics of one structure, as matrices with one more dimension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from d3rlpy.models.torch import VectorEncoder, VectorEncoderWithAction
from d3rlpy.torch_utility import Swish
from torch import Tensor, nn


class Head(NamedTuple):
    """A linear layer on the encoder's features, and what passes those by."""

    layer: nn.Linear
    past: Tensor | None = None  # weights of the observation's own features, ``(C, d)``
    ignores: tuple[int, ...] = ()  # features of the observation that it does not see


class Trunk:
    """From observations to the coordinates of n critics, ``(B, d)`` to ``(n * B, C)``.

    Critic by critic, what each critic's own ``coordinates`` gives, for vector encoders of
    linear layers and activations.  A batch of small matrices costs less than each on its
    own; of one critic the layers are called without what modules do around a call.

    Of several critics the parameters become views of stacked ones, which gradients are
    taken of: after ``backward``, :meth:`collect_gradients` hands each its own.  All else
    (optimizers, files, copies) goes on seeing the parameters.
    """

    def __init__(self, critics: Sequence[Any], layers: Sequence[Sequence[nn.Module]]):
        self._first, self._count = critics[0], len(critics)
        heads = [critic.heads() for critic in critics]
        self._stacks = _Stacks(len(critics))
        add = self._stacks.add
        self._layers = [
            add([one.weight for one in each], [one.bias for one in each])
            if isinstance(each[0], nn.Linear)
            else each[0]
            for each in zip(*layers, strict=True)
        ]
        self._heads = [
            (
                add([one.layer.weight for one in each], [one.layer.bias for one in each]),
                None if each[0].past is None else add([one.past for one in each]),
                each[0].ignores,
            )
            for each in zip(*heads, strict=True)
        ]
        encoder = self._first.encoder
        # The action that encoders of continuous critics see is always zero.
        has_action = isinstance(encoder, VectorEncoderWithAction)
        self._zeros = encoder._action_size if has_action else 0

    @classmethod
    def of(cls, critics: Iterable[Any]) -> Trunk | None:
        """``None`` for critics of other layers, or that share some."""
        critics = list(critics)
        if not all(getattr(critic, "heads", list)() for critic in critics):
            return None
        layers = [_plain_layers(critic.encoder) for critic in critics]
        found = [one for one in layers if one is not None]
        heads = [head.layer for critic in critics for head in critic.heads()]
        own = [p for critic in critics for p in critic.parameters()]
        is_plain = all(type(head) is nn.Linear for head in heads)
        is_shared = len({id(p) for p in own}) < len(own)
        if len(found) < len(critics) or is_shared or not is_plain:
            return None
        return cls(critics, found)

    def coordinates(self, x: Tensor) -> Tensor:
        self._stacks.tie()
        # By what a head does not see: the features, and what passes them by.
        seen: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        parts = []
        for layer, past, ignores in self._heads[: self._first.heads_in_use]:
            if ignores not in seen:
                inputs = without_features(x, ignores)
                features = self._features(inputs)
                if past is not None:
                    inputs = self._first.standardised_features(inputs)
                seen[ignores] = features, inputs
            features, inputs = seen[ignores]
            part = self._stacks.linear(layer, features)
            if past is not None:
                part = part + self._stacks.linear(past, inputs)
            parts.append(part)
        found = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return found if self._count == 1 else found.transpose(1, 2).flatten(0, 1)

    def _features(self, x: Tensor) -> Tensor:
        if self._zeros:
            x = F.pad(x, (0, self._zeros))
        for layer in self._layers:
            if isinstance(layer, int):
                x = self._stacks.linear(layer, x)
            else:
                x = layer.forward(x)
        return x

    def repeated(self, rows: Tensor) -> Tensor:
        """Rows of a batch as they go with the coordinates, ``(n * B, ...)``."""
        return rows if self._count == 1 else torch.cat([rows] * self._count)

    def each(self, rows: Tensor) -> list[Tensor]:
        """Of every critic those of a batch, ``(n * B, ...)`` to n of ``(B, ...)``."""
        return [rows] if self._count == 1 else [*rows.chunk(self._count)]

    def collect_gradients(self) -> None:
        """Called after ``backward``: gradients of the critics' own parameters."""
        self._stacks.collect_gradients()


class _Stacks:
    """Weights ``(n, out, in)`` and biases ``(n, out)`` of n critics' linear layers."""

    def __init__(self, count: int):
        self._count = count
        self._own: list[Sequence[Tensor]] = []
        self._places: list[tuple[int, int | None]] = []  # of weights and biases
        self._stacked: list[Tensor] = []
        self._views: list[tuple[Tensor, int]] = []

    def add(self, weights: Sequence[Tensor], biases: Sequence[Any] = (None,)) -> int:
        """A layer of each critic; its number."""
        self._own.append(weights)
        weight, bias = len(self._own) - 1, None
        if biases[0] is not None:
            self._own.append(biases)
            bias = weight + 1
        self._places.append((weight, bias))
        return len(self._places) - 1

    def tie(self) -> None:
        """Makes the critics' parameters views of stacked ones, unless they are."""
        if self._count == 1:
            self._stacked = self._stacked or [own for (own,) in self._own]
            return
        # Copying or unpickling an algorithm gives each parameter memory of its own.
        if self._views and all(p.data_ptr() == place for p, place in self._views):
            return
        self._stacked, self._views = [], []
        for own in self._own:
            stacked = torch.stack([p.detach() for p in own])
            for p, view in zip(own, stacked, strict=True):
                p.data = view
                self._views.append((p, view.data_ptr()))
            self._stacked.append(stacked.requires_grad_(own[0].requires_grad))

    def linear(self, layer: int, x: Tensor) -> Tensor:
        weight, bias = self._places[layer]
        stacked = self._stacked[weight]
        if self._count == 1:
            return F.linear(x, stacked, None if bias is None else self._stacked[bias])
        # Rows of a batch come last, so that gradients lie as the weights do.
        if x.dim() == 2:
            x = x.T.expand(self._count, x.shape[1], x.shape[0])
        if stacked[0].numel() * x.shape[2] < _LARGE:
            if bias is None:
                return torch.bmm(stacked, x)
            return torch.baddbmm(self._stacked[bias][:, :, None], stacked, x)
        each = [
            w @ of_one for w, of_one in zip(stacked.unbind(), x.unbind(), strict=True)
        ]
        found = torch.stack(each)
        return found if bias is None else found + self._stacked[bias][:, :, None]

    def collect_gradients(self) -> None:
        if self._count == 1 or not self._stacked:
            return
        for own, stacked in zip(self._own, self._stacked, strict=True):
            if stacked.grad is not None:
                for p, gradient in zip(own, stacked.grad.unbind(), strict=True):
                    p.grad = gradient
                stacked.grad = None


# Multiplications from which one matrix at a time is as fast as a batch of them.
_LARGE = 2**23


def _plain_layers(encoder: Any) -> list[nn.Module] | None:
    """Linear layers and activations, one after another; ``None`` if there are others."""
    layers = getattr(encoder, "_layers", None)
    is_vector = type(encoder) in (VectorEncoder, VectorEncoderWithAction)
    if not is_vector or not isinstance(layers, nn.Sequential):
        return None
    if any(type(layer) not in (nn.Linear, *_ACTIVATIONS) for layer in layers):
        return None
    return [*layers]


# Of each number on its own, and without random numbers.
_ACTIVATIONS = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus),
    *(nn.Tanh, nn.Sigmoid, Swish),
)


def without_features(x: Any, features: tuple[int, ...]) -> Any:
    """Vector observations with 0 for some features."""
    if not features:
        return x
    assert isinstance(x, Tensor)
    mask = torch.ones(x.shape[1], dtype=x.dtype, device=x.device)
    mask[list(features)] = 0.0
    return x * mask
