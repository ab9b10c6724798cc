"""Policies as TorchScript and ONNX files that run without our code."""

from __future__ import annotations

import io
import os
import pathlib
import warnings
from typing import Any

import torch
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import is_tuple_shape
from torch import nn

from .._util.checks import check_built, check_path
from .._util.files import written_beside
from .._util.packages import required
from .._util.precision import float32_by_default


class _GreedyPolicy(nn.Module):
    """Raw observations to greedy actions, ``(B, ...)`` to ``(B,)``."""

    def __init__(self, algo: Any):
        super().__init__()
        self._algo = (algo,)  # in a tuple: not a submodule
        modules = algo.impl.modules.get_torch_modules()
        # Exporters must see the parameters that the trace will use.
        self.parts = nn.ModuleDict(modules)

    def scaled(self, observations: tuple[torch.Tensor, ...]) -> Any:
        """Observations as the networks take them."""
        (algo,) = self._algo
        x: Any = observations[0] if len(observations) == 1 else list(observations)
        scaler = algo.observation_scaler
        return x if scaler is None else scaler.transform(x)

    def forward(self, *observations: torch.Tensor) -> torch.Tensor:
        (algo,) = self._algo
        x = self.scaled(observations)
        action: torch.Tensor = algo.impl.inner_predict_best_action(x)
        if algo.action_scaler is not None:
            action = algo.action_scaler.reverse_transform(action)
        return action


class _Graph(_GreedyPolicy):
    """Raw observations to greedy actions, Q-values and sampling probabilities."""

    def forward(self, *observations: torch.Tensor) -> Any:
        (algo,) = self._algo
        x, impl = self.scaled(observations), algo.impl
        greedy = impl.inner_predict_best_action(x)
        values = []
        for action in range(impl.action_size):
            # One number a row, written so that the batch stays free in the graph.
            chosen = torch.zeros_like(greedy) + action
            values.append(impl.inner_predict_value(x, chosen).reshape(-1))
        policy = getattr(impl.modules, "policy", None)
        if hasattr(impl, "probabilities"):
            chances = impl.probabilities(x)
        elif policy is None:
            every = torch.arange(impl.action_size, device=greedy.device)
            chances = (greedy[:, None] == every).to(values[0].dtype)
        else:
            chances = torch.softmax(policy(x).logits, dim=1)
        return greedy, torch.stack(values, dim=1), chances


@float32_by_default()
def save_graph(algo: Any, fname: str | os.PathLike[str]) -> None:
    """Writes greedy action, Q-values and probabilities as one graph.

    ``action`` is that of ``predict``, int64 ``(B,)``; ``q_values`` are those of
    ``predict_value``, of every action, ``(B, K)``; ``probabilities`` are those that
    ``sample_action`` draws from, ``(B, K)``.  Takes raw observations, any batch size.

    Args:
        algo: a built or fitted discrete d3rlpy algorithm, ours or its own.
        fname: ends with ``.pt`` (TorchScript) or ``.onnx``.

    Raises:
        ValueError: the extension is another one, the algorithm is not built or has
            continuous actions, or its critic has no closed form.
        ImportError: ONNX's packages are missing.
    """
    check_path("fname", fname)
    if pathlib.Path(fname).suffix not in (".pt", ".onnx"):
        raise ValueError(f"fname must end with .pt or .onnx, got {str(fname)!r}")
    check_built(algo)
    if algo.get_action_type() != ActionSpace.DISCRETE:
        raise ValueError("algo must have discrete actions, got continuous ones")
    if hasattr(algo, "check_exportable"):
        algo.check_exportable()
    with written_beside(fname) as beside:
        _save(algo, _Graph(algo), beside, ("action", "q_values", "probabilities"))


@float32_by_default()
def save_greedy_policy(algo: Any, fname: str) -> None:
    """Writes ``algo.predict`` as a graph: what d3rlpy's ``save_policy`` asks for."""
    _save(algo, _GreedyPolicy(algo), fname, ("output_0",))


def _save(algo: Any, graph: nn.Module, fname: str, outputs: tuple[str, ...]) -> None:
    is_torch = pathlib.Path(fname).suffix == ".pt"
    for package in [] if is_torch else ["onnx", "onnxscript"]:
        required(
            package, "saving ONNX needs onnx and onnxscript", "'bidclick-icac[onnx]'"
        )
    batch = torch.export.Dim.DYNAMIC
    shape = algo.impl.observation_shape
    shapes = shape if is_tuple_shape(shape) else [shape]
    # Two rows: an exporter may take a batch of one for a constant.
    example = tuple(torch.rand(2, *s, device=algo.impl.device) for s in shapes)
    modules = algo.impl.modules
    modules.set_eval()
    modules.freeze()
    # A categorical policy checks its logits, which is a branch no graph can hold.
    validates = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        policy = graph.eval()
        with torch.no_grad(), warnings.catch_warnings():
            # Both exporters warn about their own future, not about this model.
            warnings.simplefilter("ignore")
            if is_torch:
                buffer = io.BytesIO()
                torch.jit.save(
                    torch.jit.trace(policy, example, check_trace=False), buffer
                )
                pathlib.Path(fname).write_bytes(buffer.getvalue())
            else:
                torch.onnx.export(
                    policy,
                    example,
                    fname,
                    input_names=[f"input_{i}" for i in range(len(example))],
                    output_names=list(outputs),
                    dynamo=True,
                    dynamic_shapes=(tuple({0: batch} for _ in example),),
                    external_data=False,
                    verbose=False,
                )
    finally:
        torch.distributions.Distribution.set_default_validate_args(validates)
        modules.unfreeze()
