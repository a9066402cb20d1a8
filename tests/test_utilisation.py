"""MFU: the FLOPs of a run's batches over the peak of its devices.

Expected values: counts of `flops.matmul_flops`, which tests/test_planning.py checks by hand, of the
program without recomputing; the manufacturers' figures.
"""

import jax
import numpy as np
import pytest

from dap_jax.distributed import peaks, sharding
from dap_jax.training import build, flops, utilisation
from tests.test_build import VOCABULARY, settings_of
from tests.test_objectives import batch_of


def batches(mesh):
  """Of two lengths."""
  for padded in (9, 12):
    batch = batch_of([[5, 9], [7, 4], [3, 6], [4, 4]], padded=padded)
    rows = {name: np.asarray(array) for name, array in batch.items()}
    yield sharding.put_batch(rows, mesh, batch_size=4)


def test_recomputing_does_not_count(monkeypatch):
  """Of a program that computes its layers twice, as many FLOPs as of one that does not."""
  monkeypatch.setattr(peaks, "flops_of", lambda kind: 100.0)
  settings = settings_of(data=1, fsdp=1, model=1) | {
    "vocabulary": VOCABULARY, "devices": jax.devices()[:1], "program": dict(build.ONE_PASS)
  }  # fmt: skip
  plain = build.build(**settings)
  again = {**settings, "program": {**build.ONE_PASS, "remat": "layers"}}
  twice = build.build(**again)
  ours = utilisation.of_run(twice, **again)
  assert ours.peak == 100.0
  counts = []
  with jax.set_mesh(plain.mesh):
    for batch in batches(plain.mesh):
      expected = flops.matmul_flops(plain.trace(batch).jaxpr)
      assert ours.flops(batch) == ours.flops(batch) == expected
      assert flops.matmul_flops(twice.trace(batch).jaxpr) > expected
      counts.append(expected)
  assert counts[0] < counts[1]


def test_a_device_that_is_not_known_has_no_peak():
  train_program = build.build(vocabulary=VOCABULARY, **settings_of(data=8))
  settings = settings_of(data=8) | {"vocabulary": VOCABULARY}
  assert utilisation.of_run(train_program, **settings) is None


@pytest.mark.parametrize(
  ("kind", "tera"),
  [("TPU v5 lite", 197), ("TPU v5", 459), ("TPU v6 lite", 918), ("NVIDIA H100 80GB HBM3", 989)],
)
def test_peaks_by_the_names_of_devices(kind, tera):
  assert peaks.flops_of(kind) == tera * 1e12


def test_all_devices_count(monkeypatch):
  mesh = sharding.make_mesh()
  assert peaks.flops_of_mesh(mesh) is None
  monkeypatch.setattr(peaks, "KINDS", {"cpu": "v4"})
  assert peaks.flops_of_mesh(mesh) == mesh.size * 275e12
