"""Models that can be handed on: weights without code, graphs without our package.

d3rlpy's ``.d3`` files and SB3's ``.zip`` files are unpickled by whoever loads them, so
their author's code runs there.  What :func:`save` writes is numbers and JSON, and
:func:`load` executes nothing of it.
"""

from .artefacts import describe, load, save
from .graphs import save_graph, save_greedy_policy
from .model_files import (
    ArtefactError,
    ModelFile,
    PathLike,
    describe_algorithm,
    differences,
    tensors_of,
    versions,
    write_file,
)

__all__ = [
    "ArtefactError",
    "ModelFile",
    "PathLike",
    "describe",
    "describe_algorithm",
    "differences",
    "load",
    "save",
    "save_graph",
    "save_greedy_policy",
    "tensors_of",
    "versions",
    "write_file",
]
