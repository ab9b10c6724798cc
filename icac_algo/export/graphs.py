"""Policies as TorchScript and ONNX files that run without our code."""

from __future__ import annotations

import io
import json
import os
import pathlib
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import is_tuple_shape
from torch import nn

from .._util.checks import check_path
from .._util.files import written_beside
from .._util.packages import required
from .._util.precision import float32_by_default
from ..shapes import rehearsal
from .artefacts import action_grid, built_algorithm, constraint_of, load, save
from .model_files import versions

#: What a graph says of itself: ONNX keeps it among the metadata of the model, a
#: TorchScript file in an extra file of this name.
DESCRIPTION = "icac_algo"
_FORMAT = 1
# The index where an observation is not finite: no list has it, whereas -1 is the last.
_NO_ACTION = -(2**63)

_DISCRETE = {
    "action": "index of the greedy action, int64 (B,); -2**63 where an input is not "
    "finite",
    "action_value": "the greedy action in its own units, one of actions.positions, "
    "float64 (B,); NaN where an input is not finite",
    "q_values": "value of every action, in scaled rewards, float32 (B, K)",
    "probabilities": "what sample_action draws from, (B, K)",
}
_CONTINUOUS = {
    "action": "the greedy action in its own units, float32 (B, A); NaN where an input is "
    "not finite",
    "action_value": "the same, float64 (B,), or (B, A) of several actions",
    "q_values": "value of that action, in scaled rewards, float32 (B, 1)",
}


class _Graph(nn.Module):
    """Raw observations ``(B, ...)`` to what a policy answers, by name."""

    positions: torch.Tensor

    def __init__(self, algo: Any, outputs: Sequence[str]):
        super().__init__()
        self._algo = (algo,)  # in a tuple: not a submodule
        self.outputs = tuple(outputs)
        self.is_single = len(self.outputs) == 1
        self.is_discrete = algo.get_action_type() == ActionSpace.DISCRETE
        # Exporters must see the parameters that the trace will use.
        self.parts = nn.ModuleDict(algo.impl.modules.get_torch_modules())
        grid = torch.tensor(action_grid(algo) or [], dtype=torch.float64)
        self.register_buffer("positions", grid.to(algo.impl.device))

    def forward(self, *observations: torch.Tensor) -> Any:
        (algo,) = self._algo
        x: Any = observations[0] if len(observations) == 1 else list(observations)
        if algo.observation_scaler is not None:
            x = algo.observation_scaler.transform(x)
        action = algo.impl.inner_predict_best_action(x)
        finite = torch.stack(
            [torch.isfinite(part).flatten(1).all(dim=1) for part in observations]
        ).all(dim=0)
        found = self._discrete if self.is_discrete else self._continuous
        answers = found(x, action, finite)
        named = tuple(answers[name] for name in self.outputs)
        return named[0] if self.is_single else named

    def _discrete(
        self, x: Any, action: torch.Tensor, finite: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        answers = {}
        if "q_values" in self.outputs:
            values = _all_values(self._algo[0].impl, x)
            finite = finite & torch.isfinite(values).all(dim=1)
            chances = _probabilities(self._algo[0].impl, x, action, values)
            answers["q_values"] = torch.where(finite[:, None], values, torch.nan)
            answers["probabilities"] = torch.where(finite[:, None], chances, torch.nan)
            at_action = self.positions.index_select(0, action)
            answers["action_value"] = torch.where(finite, at_action, torch.nan)
        answers["action"] = torch.where(finite, action, _NO_ACTION)
        return answers

    def _continuous(
        self, x: Any, action: torch.Tensor, finite: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        (algo,) = self._algo
        answers = {}
        if "q_values" in self.outputs:
            value = algo.impl.inner_predict_value(x, action).reshape(-1, 1)
            finite = finite & torch.isfinite(value[:, 0])
            answers["q_values"] = torch.where(finite[:, None], value, torch.nan)
        if algo.action_scaler is not None:
            action = algo.action_scaler.reverse_transform(action)
        action = torch.where(finite[:, None], action, torch.nan)
        answers["action"] = action
        answers["action_value"] = action.squeeze(1).double()
        return answers


def _all_values(impl: Any, x: Any) -> torch.Tensor:
    """Values of all discrete actions, ``(B, K)``, as ``predict_value`` gives them."""
    if hasattr(impl, "action_values"):
        values: torch.Tensor = impl.action_values(x)
        return values
    # What d3rlpy's predict_value gathers from.
    expected: torch.Tensor = impl._q_func_forwarder.compute_expected_q(x, "mean")
    return expected


def _probabilities(
    impl: Any, x: Any, greedy: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """What ``sample_action`` of a discrete algorithm draws from, ``(B, K)``."""
    policy = getattr(impl.modules, "policy", None)
    if hasattr(impl, "probabilities"):
        chances: torch.Tensor = impl.probabilities(x)
        return chances
    if policy is not None:
        return torch.softmax(policy(x).logits, dim=1)
    every = torch.arange(impl.action_size, device=greedy.device)
    return (greedy[:, None] == every).to(values.dtype)


@float32_by_default()
def save_graph(
    algo: Any,
    fname: str | os.PathLike[str],
    features: Sequence[str] | None = None,
    units: str | None = None,
) -> None:
    """Writes the greedy policy with its values as one graph that says what it is.

    Takes raw observations, float32, any batch size; scalers are inside.  Of discrete
    actions it answers ``action`` (that of ``predict``, int64 ``(B,)``), ``action_value``
    (the same in its own units, the constraint's positions, float64 ``(B,)``),
    ``q_values`` (those of ``predict_value``, ``(B, K)``) and ``probabilities`` (those
    that ``sample_action`` draws from, ``(B, K)``); of continuous actions ``action``
    (float32 ``(B, A)``), ``action_value`` (float64 ``(B,)``) and the ``q_values`` of
    that action, ``(B, 1)``.

    An observation with NaN or infinity gets NaN in every output and no valid index.

    What serving needs is described in JSON in the file itself: under the key
    ``icac_algo`` of an ONNX model's metadata, or in the extra file ``icac_algo`` of a
    TorchScript file: ``inputs`` with the names of features, ``preparation``, ``actions``
    with positions and units, ``outputs``, ``algorithm`` and ``versions``.

    Args:
        algo: a built or fitted d3rlpy algorithm, ours or its own, or a
            :class:`~icac_algo.sb3.ConstraintAwareDQN`, whose ``VecNormalize`` goes into
            the graph.
        fname: ends with ``.pt`` (TorchScript) or ``.onnx``.
        features: names of the features of a vector observation, in their order; ``x0``,
            ``x1`` and so on if not given.
        units: what actions are measured in, in words.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: the extension is another one, the algorithm is not built, its critic
            has no closed form or its ``predict`` is random, or ``features`` are not
            different names, one of each feature.
        ImportError: ONNX's packages are missing.
    """
    check_path("fname", fname)
    if pathlib.Path(fname).suffix not in (".pt", ".onnx"):
        raise ValueError(f"fname must end with .pt or .onnx, got {str(fname)!r}")
    algo = _on_cpu(built_algorithm(algo))
    is_discrete = algo.get_action_type() == ActionSpace.DISCRETE
    outputs = _DISCRETE if is_discrete else _CONTINUOUS
    description = _describe(algo, outputs, features, units)
    with written_beside(fname) as beside:
        _save(_Graph(algo, list(outputs)), beside, tuple(outputs), description)


@float32_by_default()
def save_greedy_policy(algo: Any, fname: str | os.PathLike[str]) -> None:
    """Writes ``algo.predict`` as a graph: what d3rlpy's ``save_policy`` asks for.

    Its one output is the ``action`` of :func:`save_graph`, named ``output_0`` as d3rlpy
    does; ``Raises`` are those of :func:`save_graph`.
    """
    check_path("fname", fname)
    if pathlib.Path(fname).suffix not in (".pt", ".onnx"):
        raise ValueError(f"fname must end with .pt or .onnx, got {str(fname)!r}")
    algo = _on_cpu(built_algorithm(algo))
    is_discrete = algo.get_action_type() == ActionSpace.DISCRETE
    meaning = (_DISCRETE if is_discrete else _CONTINUOUS)["action"]
    description = _describe(algo, {"output_0": meaning}, None, None)
    with written_beside(fname) as beside:
        _save(_Graph(algo, ["action"]), beside, ("output_0",), description)


def _on_cpu(algo: Any) -> Any:
    """The same model on the CPU: a trace keeps the device that its constants are on."""
    if torch.device(algo.impl.device).type == "cpu":
        return algo
    with tempfile.TemporaryDirectory() as folder:
        return load(save(algo, pathlib.Path(folder) / "model"), device="cpu:0")


def _describe(
    algo: Any,
    outputs: dict[str, str],
    features: Sequence[str] | None,
    units: str | None,
) -> str:
    """What a graph's file says of itself, as JSON."""
    if units is not None and not isinstance(units, str):
        raise TypeError(f"units must be words, got {units!r}")
    shapes = _observation_shapes(algo)
    is_vector = len(shapes) == 1 and len(shapes[0]) == 1
    names = None
    if is_vector:
        names = [f"x{i}" for i in range(shapes[0][0])]
    if features is not None:
        names = _checked_features(features, shapes[0][0] if is_vector else None)
    actions: dict[str, Any] = {"kind": "discrete", "positions": action_grid(algo)}
    if algo.get_action_type() != ActionSpace.DISCRETE:
        constraint = constraint_of(algo)
        actions = {"kind": "continuous", "size": algo.impl.action_size}
        if constraint is not None:
            ends = constraint.actions or [0.0, 1.0]
            actions |= {"low": ends[0], "high": ends[-1]}
    scaler = algo.observation_scaler
    said = "none needed: inputs are raw observations"
    if scaler is not None:
        said += f", which the graph scales itself ({scaler.get_type()})"
    description = {
        "format": _FORMAT,
        "algorithm": type(algo).__name__,
        "grad_step": int(algo.grad_step),
        "inputs": [
            {"name": f"input_{i}", "dtype": "float32", "shape": ["batch", *shape]}
            for i, shape in enumerate(shapes)
        ],
        "features": names,
        "preparation": said,
        "actions": actions | {"units": units},
        "outputs": outputs,
        "versions": versions(),
    }
    return json.dumps(description, allow_nan=False)


def _checked_features(features: Any, size: int | None) -> list[str]:
    allowed = f"{size} different names"
    if size is None:
        allowed = "None where observations are no vectors"
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise TypeError(f"features must be {allowed}, got {features!r}")
    names = list(features)
    are_names = all(isinstance(name, str) and name for name in names)
    if not are_names or len(names) != size or len(set(names)) != size:
        raise ValueError(f"features must be {allowed}, got {names}")
    return names


def _observation_shapes(algo: Any) -> list[tuple[int, ...]]:
    shape = algo.impl.observation_shape
    parts = shape if is_tuple_shape(shape) else [shape]
    return [tuple(int(n) for n in part) for part in parts]


def _save(graph: _Graph, fname: str, outputs: tuple[str, ...], description: str) -> None:
    (algo,) = graph._algo
    is_torch = pathlib.Path(fname).suffix == ".pt"
    generator = torch.Generator().manual_seed(0)
    # Two rows: an exporter may take a batch of one for a constant.
    example = tuple(
        torch.rand(2, *s, generator=generator, dtype=torch.float32).to(algo.impl.device)
        for s in _observation_shapes(algo)
    )
    modules = algo.impl.modules
    modules.set_eval()
    modules.freeze()
    # A categorical policy checks its logits, which is a branch no graph can hold.
    validates = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        graph.eval()
        with torch.no_grad(), warnings.catch_warnings():
            # Torch warns of constants and of its exporters' future, not of this model.
            warnings.simplefilter("ignore")
            _rehearse(graph, example)
            if is_torch:
                buffer = io.BytesIO()
                traced = torch.jit.trace(graph, example, check_trace=False)
                torch.jit.save(traced, buffer, _extra_files={DESCRIPTION: description})
                pathlib.Path(fname).write_bytes(buffer.getvalue())
            else:
                _save_onnx(graph, example, fname, outputs, description)
    finally:
        torch.distributions.Distribution.set_default_validate_args(validates)
        modules.unfreeze()


def _rehearse(graph: _Graph, example: tuple[torch.Tensor, ...]) -> None:
    """Refuses what no graph can express: iterations, and policies that draw."""
    with rehearsal(), torch.random.fork_rng(devices=[]):
        once, again = graph(*example), graph(*example)
    actions = (once, again) if graph.is_single else (once[0], again[0])
    if not torch.equal(*actions):
        name = type(graph._algo[0]).__name__
        raise ValueError(
            f"algo must have a predict without chance, got {name}, which draws actions "
            "and chooses among them: no graph can equal it"
        )


def _save_onnx(
    graph: _Graph,
    example: tuple[torch.Tensor, ...],
    fname: str,
    outputs: tuple[str, ...],
    description: str,
) -> None:
    onnx = required("onnx", "saving ONNX needs onnx", "'bidclick-icac[onnx]'")
    names = [f"input_{i}" for i in range(len(example))]
    # The same trace as TorchScript's.  torch.export takes a hundred times as long for
    # the same graph, and stops where a scaler's numbers are read.
    torch.onnx.export(
        graph,
        example,
        fname,
        input_names=names,
        output_names=list(outputs),
        dynamic_axes={name: {0: "batch"} for name in (*names, *outputs)},
        opset_version=18,
        dynamo=False,
    )
    model = onnx.load(fname)
    onnx.helper.set_model_props(model, {DESCRIPTION: description})
    onnx.save(model, fname)
