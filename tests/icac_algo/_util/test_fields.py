"""Fields of configs are kept as Python's own types, whatever they are annotated with."""

import dataclasses
from typing import Any, Optional, TypeVar

import numpy as np
from typing_extensions import TypeAliasType

from icac_algo._util.fields import cast_fields

Scalar = TypeVar("Scalar", bound=np.generic)
# What numpy's NDArray is from 2.5 on.
Alias = TypeAliasType(
    "Alias", np.ndarray[tuple[Any, ...], np.dtype[Scalar]], type_params=(Scalar,)
)


@dataclasses.dataclass
class Scaled:
    mean: Optional[Alias[np.float32]] = None  # noqa: UP045
    rate: float = 0.0


def test_an_array_stays_one_under_an_alias() -> None:
    config = Scaled(mean=np.ones(3, np.float32), rate=np.float64(0.5))
    cast_fields(config)
    assert isinstance(config.mean, np.ndarray)
    assert type(config.rate) is float
