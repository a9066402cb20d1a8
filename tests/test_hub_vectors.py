"""Imported folders give sentence-transformers' vectors, or are refused by name."""

import collections

import numpy as np
import pytest
import sentence_transformers

from dap_jax.inference import embedder
from dap_jax.utils.errors import UserError
from tests import generated_folders


def outcome(folder):
  """ "refused", "theirs fails", "agrees", or the largest difference of the vectors."""
  try:
    ours = embedder.load(str(folder)).encode(generated_folders.TEXTS)
  except UserError as error:
    assert "\n" not in str(error)
    return "refused", str(error)
  try:
    peer = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    theirs = peer.encode(generated_folders.TEXTS)
  except Exception as error:  # noqa: BLE001 transformers raises many types
    return "theirs fails", f"{type(error).__name__}: {error}"
  atol = 1e-5 * max(1, np.linalg.norm(theirs, axis=1).max())  # of the longest vector
  if theirs.shape != ours.shape or not np.allclose(ours, theirs, atol=atol, rtol=0):
    return "differs", f"{np.abs(ours - theirs).max() if ours.shape == theirs.shape else ours.shape}"
  return "agrees", ""


def compare(tmp_path, seeds):
  """Counts of outcomes; asserts that no folder differs silently."""
  outcomes, wrong = collections.Counter(), []
  for seed in seeds:
    folder = tmp_path / str(seed)
    description = generated_folders.write(folder, seed)
    kind, detail = outcome(folder)
    outcomes[kind] += 1
    if kind == "differs":
      wrong.append(f"{description}: {detail}")
  print(dict(outcomes))
  assert not wrong, "\n".join(wrong)
  return outcomes


def test_ten_generated_folders_agree_or_are_refused(tmp_path):
  assert compare(tmp_path, range(10))["agrees"] >= 3


@pytest.mark.slow
def test_two_hundred_generated_folders_agree_or_are_refused(tmp_path):
  """Seven model types, all poolings; each option of `generated_folders` occurs several times."""
  outcomes = compare(tmp_path, range(10, 210))
  assert outcomes["agrees"] >= 60
  assert outcomes["refused"] >= 60
  assert outcomes["theirs fails"] <= 20
