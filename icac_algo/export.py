"""Greedy policies as TorchScript and ONNX files that run without our code."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import torch
from d3rlpy.dataset import is_tuple_shape
from torch import nn

__all__ = ["save_greedy_policy"]


class _GreedyPolicy(nn.Module):
    """Raw observations to greedy actions, ``(B, ...)`` to ``(B,)``."""

    def __init__(self, algo: Any):
        super().__init__()
        self._algo = (algo,)  # in a tuple: not a submodule
        modules = algo.impl.modules.get_torch_modules()
        # Exporters must see the parameters that the trace will use.
        self.parts = nn.ModuleDict(modules)

    def forward(self, *observations: torch.Tensor) -> torch.Tensor:
        (algo,) = self._algo
        x: Any = observations[0] if len(observations) == 1 else list(observations)
        scaler = algo.observation_scaler
        if scaler is not None:
            x = scaler.transform(x)
        action: torch.Tensor = algo.impl.inner_predict_best_action(x)
        if algo.action_scaler is not None:
            action = algo.action_scaler.reverse_transform(action)
        return action


def save_greedy_policy(algo: Any, fname: str) -> None:
    """Writes ``algo.predict`` as a graph; see ``DiscreteAlgorithm.save_policy``.

    Args:
        algo: a built discrete algorithm, exportable.
        fname: ends with ``.pt`` (TorchScript) or ``.onnx``.

    Raises:
        ImportError: ONNX's packages are missing.
    """
    suffix = pathlib.Path(fname).suffix
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
        policy = _GreedyPolicy(algo).eval()
        with torch.no_grad(), warnings.catch_warnings():
            # Both exporters warn about their own future, not about this model.
            warnings.simplefilter("ignore")
            if suffix == ".pt":
                torch.jit.trace(policy, example, check_trace=False).save(fname)
            else:
                _save_onnx(policy, example, fname)
    finally:
        torch.distributions.Distribution.set_default_validate_args(validates)
        modules.unfreeze()


def _save_onnx(policy: nn.Module, example: tuple[torch.Tensor, ...], fname: str) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "saving ONNX needs onnx and onnxscript: pip install 'bidclick-icac[onnx]'"
        ) from error
    batch = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        policy,
        example,
        fname,
        input_names=[f"input_{i}" for i in range(len(example))],
        output_names=["output_0"],
        dynamo=True,
        dynamic_shapes=(tuple({0: batch} for _ in example),),
        external_data=False,
        verbose=False,
    )
