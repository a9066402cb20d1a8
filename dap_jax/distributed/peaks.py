"""What accelerators can do at most, by the names that JAX has for them.

The manufacturers' peaks of dense bfloat16. TPU: docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e};
GPU: the data sheets of the A100, H100 SXM, H200 SXM; read November 2026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `plan` reads these figures before it tells JAX of its devices
  from jax.sharding import Mesh

TERA = 1e12
FLOPS = {  # multiplications and additions a second
  "v4": 275 * TERA,
  "v5e": 197 * TERA,
  "v5p": 459 * TERA,
  "v6e": 918 * TERA,
  "a100": 312 * TERA,
  "h100": 989 * TERA,
  "h200": 989 * TERA,
}
KINDS = {  # how JAX's name of a device begins -> the kind; the first that fits
  "TPU v4": "v4",
  "TPU v5 lite": "v5e",
  "TPU v5": "v5p",
  "TPU v6 lite": "v6e",
  "NVIDIA A100": "a100",
  "NVIDIA H100": "h100",
  "NVIDIA H200": "h200",
}


def flops_of(device_kind: str) -> float | None:
  """The peak of a device, FLOP/s; None of one that is not known, such as a CPU."""
  kind = next((kind for name, kind in KINDS.items() if name in device_kind), None)
  return None if kind is None else FLOPS[kind]


def flops_of_mesh(mesh: Mesh) -> float | None:
  """The peak of all devices together, FLOP/s; None where one is not known."""
  peaks = [flops_of(device.device_kind) for device in mesh.devices.flat]
  known = [peak for peak in peaks if peak is not None]
  return sum(known) if len(known) == len(peaks) else None
