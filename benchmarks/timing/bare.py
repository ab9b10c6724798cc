"""The floor: what a step costs as a loop of torch operations and nothing else.

It knows the log by heart and checks, scales, logs and watches nothing; networks, loss,
optimizer, target network and averaged network are those of ``ConstraintAwareQ``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PIECES, LEARNING_RATE, TAU, WINDOW, GAMMA = 4, 1e-3, 0.005, 0.2, 0.99
#: Level and line, and of each piece a height, a steepness and a place.
COORDINATES = 2 + 3 * PIECES


class BareLoop:
    """A critic of a concave reward, or of clicks that rise, learned step by step.

    Args:
        log: a replay buffer of discrete actions, with the column ``click``.
        hidden, batch, critics: sizes.
        is_later: whether what follows is learned too, from a target network.
        is_click: whether clicks are learned, by their likelihood, with weight decay.
        looks: held-out rows, of which all values are computed at seven looks.
    """

    def __init__(
        self,
        log: Any,
        hidden: Sequence[int],
        batch: int,
        critics: int,
        is_later: bool,
        is_click: bool,
        looks: int = 0,
    ):
        arrays = log.to_arrays()
        rows = torch.as_tensor(~arrays["final"])
        x = torch.as_tensor(arrays["observations"])
        place = torch.arange(len(x))[rows]
        self._x, self._next = x[rows], x[(place + 1).clamp(max=len(x) - 1)]
        self._actions = torch.as_tensor(arrays["actions"]).long()[rows]
        self._rewards = torch.as_tensor(arrays["rewards"]).float()[rows]
        self._goes_on = 1.0 - torch.as_tensor(arrays["terminals"]).float()[rows][:, None]
        self._clicks = torch.as_tensor(log.columns.extras["click"].read(0, len(x)))
        self._clicks = self._clicks.float().reshape(-1, 1)[rows]
        self._features = (self._x - self._x.mean(0)) / self._x.std(0)
        self._level, self._scale = self._rewards.mean(), self._rewards.std()
        self._batch, self._count, self._looks = batch, critics, looks
        self._is_later, self._is_click = is_later, is_click
        sizes = [x.shape[1], *hidden, COORDINATES]
        self._layers = [
            each.requires_grad_()
            for i, o in zip(sizes[:-1], sizes[1:], strict=True)
            for each in (
                (torch.rand(critics, i, o) - 0.5) * 2.0 / i**0.5,
                torch.zeros(critics, 1, o),
            )
        ]
        if is_click:
            past = torch.zeros(critics, x.shape[1], COORDINATES)
            self._layers.append(past.requires_grad_())
        self._copies = [[p.detach().clone() for p in self._layers] for _ in range(2)]
        self._optim = torch.optim.Adam(self._layers, lr=LEARNING_RATE, fused=True)
        count = 1 + int(self._actions.max())
        self._unit = torch.linspace(-1.0, 1.0, count)
        places = torch.linspace(-1.0, 1.0, PIECES if is_click else (PIECES + 1) // 2)
        self._places = places if is_click else places.repeat_interleave(2)
        self._signs = torch.ones(PIECES)
        if not is_click:
            self._signs[1::2] = -1.0
        starts = torch.tensor([-5.0 if is_click else -1.0, 0.5])
        self._starts = starts.repeat_interleave(PIECES)
        self._steps = 0

    def _coordinates(self, layers: list[Tensor], x: Tensor, passing: Tensor) -> Tensor:
        found = x
        depth = len(layers) // 2
        if self._count > 1:
            found = x.expand(self._count, *x.shape)
        for i in range(depth):
            weight, bias = layers[2 * i], layers[2 * i + 1]
            if self._count == 1:
                found = torch.addmm(bias[0], found, weight[0])
            else:
                found = torch.baddbmm(bias, found, weight)
            if i < depth - 1:
                found = torch.relu(found)
        if self._is_click:
            found = found + passing @ layers[-1][0]
        return found if self._count == 1 else found.flatten(0, 1)

    def _values(self, coordinates: Tensor, unit: Tensor) -> Tensor:
        sizes = [1, 1, 2 * PIECES, PIECES]
        level, line, bent, place = coordinates.split(sizes, dim=1)
        height, steepness = F.softplus(bent + self._starts).chunk(2, dim=1)
        steepness, place = steepness * self._signs, place + self._places
        if unit.dim() == 1:
            argument = steepness[:, :, None] * unit + place[:, :, None]
            bends = (height[:, :, None] * F.logsigmoid(argument)).sum(dim=1)
            return level + bends + line * unit
        argument = torch.addcmul(place, steepness, unit)
        if self._is_click:
            rising = 4.0 * torch.sigmoid(3.0 * argument)
            bends = (height * rising).sum(dim=1, keepdim=True)
            return level + bends + F.softplus(line) * unit
        return (
            level + (height * F.logsigmoid(argument)).sum(1, keepdim=True) + line * unit
        )

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._step()
        for _ in range(7 if self._looks else 0):
            with torch.no_grad():
                x, passing = self._x[: self._looks], self._features[: self._looks]
                found = self._coordinates(self._copies[1], x, passing)
                self._values(found, self._unit)

    def _step(self) -> float:
        rows = torch.randint(len(self._x), (self._batch,))
        x, unit = self._x[rows], self._unit[self._actions[rows]]
        passing = self._features[rows] if self._is_click else x
        target = self._rewards[rows]
        if self._is_later:
            with torch.no_grad():
                found = self._coordinates(self._copies[0], self._next[rows], passing)
                best = self._values(found, self._unit).amax(dim=1, keepdim=True)
                later = self._level + self._scale * best
                target = target + GAMMA * self._goes_on[rows] * later
        values = self._values(
            self._coordinates(self._layers, x, passing), unit.repeat(self._count, 1)
        )
        if self._is_click:
            loss = F.binary_cross_entropy_with_logits(values, self._clicks[rows])
        else:
            wanted = ((target - self._level) / self._scale).repeat(self._count, 1)
            loss = 0.5 * self._count * F.mse_loss(values, wanted)
        for parameter in self._layers:
            parameter.grad = None
        loss.backward()
        self._steps += 1
        with torch.no_grad():
            if self._is_click:
                torch._foreach_mul_(self._layers[0::2], 1.0 - 1e-4)
            self._optim.step()
            torch._foreach_lerp_(self._copies[0], self._layers, TAU)
            rate = min(1.0, 1.0 / (WINDOW * self._steps))
            torch._foreach_lerp_(self._copies[1], self._layers, rate)
        return float(loss.detach())
