"""The floor: what a step costs as a loop of torch operations and nothing else.

It knows the log by heart and checks, scales, logs and watches nothing; networks, loss,
optimizer, target network and averaged network are those of ``ConstraintAwareQ``.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIECES, LEARNING_RATE, TAU, WINDOW, GAMMA = 4, 1e-3, 0.005, 0.2, 0.99
#: A level, a line, and of each piece a height and a steepness, then its place.
PARTS = [1, 1, 2 * PIECES, PIECES]


class _Network(nn.Module):
    """The coordinates of each state: layers, and perhaps what passes them."""

    def __init__(self, sizes: Sequence[int], passes: bool):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.past = nn.Linear(sizes[0], sizes[-1], bias=False) if passes else None

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found if self.past is None else found + self.past(features)


class BareLoop:
    """A critic of a concave reward, or of clicks that rise, learned step by step.

    Args:
        log: a replay buffer of discrete actions, with the column ``click``.
        hidden, batch: sizes.
        is_later: whether what follows is learned too, from a target network.
        is_click: whether clicks are learned, by their likelihood, with weight decay.
        looks: held-out rows, of which all values are computed at seven looks.
    """

    def __init__(
        self,
        log: Any,
        hidden: Sequence[int],
        batch: int,
        is_later: bool,
        is_click: bool,
        looks: int = 0,
    ):
        arrays = {k: torch.tensor(v) for k, v in log.to_arrays().items() if k != "extras"}
        rows, x = torch.nonzero(~arrays["final"])[:, 0], arrays["observations"]
        clicks = torch.tensor(log.columns.extras["click"].read(0, len(x)))
        self._x, self._next = x[rows], x[(rows + 1).clamp(max=len(x) - 1)]
        self._actions = arrays["actions"].long()[rows]
        self._rewards = arrays["rewards"].float()[rows]
        self._goes_on = 1.0 - arrays["terminals"].float().reshape(-1, 1)[rows]
        self._clicks = clicks.float().reshape(-1, 1)[rows]
        self._features = (self._x - self._x.mean(0)) / self._x.std(0)
        self._level, self._scale = self._rewards.mean(), self._rewards.std()
        self._batch, self._looks, self._steps = batch, looks, 0
        self._is_later, self._is_click = is_later, is_click
        self._network = _Network([x.shape[1], *hidden, sum(PARTS)], is_click)
        self._target, self._average = (copy.deepcopy(self._network) for _ in range(2))
        self._own: list[Tensor] = [*self._network.parameters()]
        copies: Any = (self._target, self._average)
        self._copies = [[*each.parameters()] for each in copies]
        self._optim = torch.optim.Adam(self._own, lr=LEARNING_RATE, fused=True)
        self._unit = torch.linspace(-1.0, 1.0, 1 + int(self._actions.max()))
        places = torch.linspace(-1.0, 1.0, PIECES if is_click else PIECES // 2)
        self._places = places if is_click else places.repeat_interleave(2)
        self._signs = torch.ones(PIECES) if is_click else torch.tensor([1.0, -1.0] * 2)
        starts = torch.tensor([-5.0 if is_click else -1.0, 0.5])
        self._starts = starts.repeat_interleave(PIECES)

    def _values(self, coordinates: Tensor, unit: Tensor) -> Tensor:
        """At one action each, ``(B, 1)``, or at all, ``(K,)``."""
        level, line, bent, place = coordinates.split(PARTS, dim=1)
        height, steepness = F.softplus(bent + self._starts).chunk(2, dim=1)
        steepness, place = steepness * self._signs, place + self._places
        if unit.dim() == 1:
            argument = steepness[:, :, None] * unit + place[:, :, None]
            bends = (height[:, :, None] * F.logsigmoid(argument)).sum(dim=1)
            return level + bends + line * unit
        argument = torch.addcmul(place, steepness, unit)
        if self._is_click:
            rising = height * 4.0 * torch.sigmoid(3.0 * argument)
            return level + rising.sum(dim=1, keepdim=True) + F.softplus(line) * unit
        bends = height * F.logsigmoid(argument)
        return level + bends.sum(dim=1, keepdim=True) + line * unit

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._step()
        for _ in range(7 if self._looks else 0):
            with torch.no_grad():
                held_out = self._x[: self._looks], self._features[: self._looks]
                self._values(self._average(*held_out), self._unit)

    def _step(self) -> float:
        rows = torch.randint(len(self._x), (self._batch,))
        x, unit = self._x[rows], self._unit[self._actions[rows]]
        features = self._features[rows] if self._is_click else x
        target = self._clicks[rows] if self._is_click else self._rewards[rows]
        if self._is_later:
            with torch.no_grad():
                after = self._values(self._target(self._next[rows], x), self._unit)
                later = self._level + self._scale * after.amax(dim=1, keepdim=True)
                target = target + GAMMA * self._goes_on[rows] * later
        values = self._values(self._network(x, features), unit)
        if self._is_click:
            eta = torch.addcmul(self._level, self._scale, values)
            loss = self._scale * F.binary_cross_entropy_with_logits(eta, target)
        else:
            loss = 0.5 * F.mse_loss(values, (target - self._level) / self._scale)
        for parameter in self._own:
            parameter.grad = None
        loss.backward()
        self._steps += 1
        with torch.no_grad():
            if self._is_click:
                torch._foreach_mul_(self._own[0::2], 1.0 - 1e-4)
            self._optim.step()
            torch._foreach_lerp_(self._copies[0], self._own, TAU)
            rate = min(1.0, 1.0 / (WINDOW * self._steps))
            torch._foreach_lerp_(self._copies[1], self._own, rate)
        return float(loss.detach())
