"""Checkpoints on real files: rotation, the best one, other meshes, damage, donation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint.utils import TMP_DIR_SUFFIX

from dap_jax.core.train_step import TrainState
from dap_jax.distributed import parameters, sharding
from dap_jax.utils.errors import UserError
from dap_jax.workdir import checkpointing, restore

METRIC = "eval/retrieval/to_pivot_accuracy"


def kernel_of(value, width=64):
  """Random numbers drawn from `value`: too large and too random to lie inside a metadata file."""
  return np.random.default_rng(value).normal(size=(512, width)).astype(np.float32)


def state_of(value, mesh, width=64):
  """The state of step `value`."""
  params = {"encoder": {"mlp_in": {"kernel": kernel_of(value, width)}}}
  state = TrainState(np.int32(value), params, (params,))
  shardings = jax.tree.map(lambda leaf: leaf.sharding, parameters.with_shardings(state, mesh))
  return jax.device_put(state, shardings)


def is_state_of(value, state):
  kernels = [state.params["encoder"], state.opt_state[0]["encoder"]]
  return state.step == value and all(
    (kernel["mlp_in"]["kernel"] == kernel_of(value)).all() for kernel in kernels
  )


def abstract_of(mesh, **settings):
  return parameters.with_shardings(state_of(0, mesh, **settings), mesh)


def opened(path, *, keep_last=2, best_metric=METRIC):
  return checkpointing.Checkpoints(path, keep_last=keep_last, best_metric=best_metric)


def test_keeps_the_last_and_the_best_across_restarts(tmp_path):
  mesh = sharding.make_mesh(data=8, model=1)
  scores = {10: 0.1, 20: 0.9, 30: 0.3, 40: 0.4, 50: None}
  with opened(tmp_path) as checkpoints:
    for step in (10, 20, 30):
      checkpoints.save(step, state_of(step, mesh), metrics={METRIC: scores[step], "loss": 1.0})
  with opened(tmp_path) as checkpoints:
    for step in (40, 50):
      metrics = {METRIC: scores[step]} if scores[step] else {}
      checkpoints.save(step, state_of(step, mesh), metrics=metrics)
    checkpoints.wait()
    assert checkpoints.steps() == [20, 40, 50]  # the best of all, and the last two
    assert checkpoints.best_step() == 20
  params = abstract_of(mesh).params
  for step, number in [("newest", 50), ("best", 20), ("40", 40)]:
    restored = restore.restore(tmp_path, params, step=step)
    assert restored.step == number
    assert (restored.state["encoder"]["mlp_in"]["kernel"] == kernel_of(number)).all()
  with pytest.raises(UserError, match=r"no checkpoint '30': there are \[20, 40, 50\]"):
    restore.restore(tmp_path, params, step="30")


def test_a_metric_of_which_the_smallest_is_best(tmp_path):
  mesh = sharding.make_mesh(data=8, model=1)
  with opened(tmp_path, keep_last=1, best_metric=f"-{METRIC}") as checkpoints:
    assert checkpoints.best_metric == METRIC
    for step, score in {10: 0.5, 20: 0.1, 30: 0.9}.items():
      checkpoints.save(step, state_of(step, mesh), metrics={METRIC: score})
    checkpoints.wait()
    assert checkpoints.steps() == [20, 30]
    assert checkpoints.best_step() == 20
  params = abstract_of(mesh).params
  assert restore.restore(tmp_path, params, step="best").step == 20


def test_restores_onto_the_mesh_of_now(tmp_path):
  with opened(tmp_path) as checkpoints:
    checkpoints.save(7, state_of(7, sharding.make_mesh(data=8, model=1)), metrics={})
    checkpoints.wait()
    abstract = abstract_of(sharding.make_mesh(data=4, model=2))
    restored = checkpoints.restore(abstract)
  assert restored.step == 7
  for leaf, target in zip(jax.tree.leaves(restored.state), jax.tree.leaves(abstract), strict=True):
    assert leaf.sharding == target.sharding
  assert is_state_of(7, restored.state)


def test_a_donated_state_is_saved_as_it_was(tmp_path):
  mesh = sharding.make_mesh(data=8, model=1)
  add = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
  state = state_of(3, mesh)
  with opened(tmp_path) as checkpoints:
    checkpoints.save(3, state, metrics={})
    for _ in range(5):
      state = add(state)
    jax.block_until_ready(state)
    checkpoints.wait()
    saved = checkpoints.restore(abstract_of(mesh)).state
  assert is_state_of(3, saved)


def largest_file(folder):
  return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


DAMAGE = {
  "data_cut": lambda folder: largest_file(folder).write_bytes(
    largest_file(folder).read_bytes()[:99]
  ),
  "data_gone": lambda folder: largest_file(folder).unlink(),
  "metadata_cut": lambda folder: (folder / "state" / "_METADATA").write_text("{"),
  "manifest_gone": lambda folder: (folder / "state" / "manifest.ocdbt").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_newest_checkpoint_falls_back(tmp_path, damage):
  mesh = sharding.make_mesh(data=8, model=1)
  with opened(tmp_path) as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, state_of(step, mesh), metrics={})
  damage(tmp_path / "checkpoints" / "2")
  with opened(tmp_path) as checkpoints:
    restored = checkpoints.restore(abstract_of(mesh))
    assert restored.step == 1
    assert is_state_of(1, restored.state)
    assert (tmp_path / "corrupt" / "2").is_dir()
    checkpoints.save(2, state_of(2, mesh), metrics={})  # the run comes by step 2 again
    checkpoints.wait()
    assert checkpoints.restore(abstract_of(mesh)).step == 2


def test_only_damaged_checkpoints_are_an_error(tmp_path):
  mesh = sharding.make_mesh(data=8, model=1)
  with opened(tmp_path) as checkpoints:
    checkpoints.save(1, state_of(1, mesh), metrics={})
  DAMAGE["data_gone"](tmp_path / "checkpoints" / "1")
  with opened(tmp_path) as checkpoints, pytest.raises(UserError, match="none of the checkpoints"):
    checkpoints.restore(abstract_of(mesh))


def test_another_model_is_no_damage(tmp_path):
  mesh = sharding.make_mesh(data=8, model=1)
  with opened(tmp_path) as checkpoints:
    checkpoints.save(1, state_of(1, mesh), metrics={})
    checkpoints.wait()
    with pytest.raises(UserError, match=r"kernel is \(512, 64\) there and \(512, 32\)"):
      checkpoints.restore(abstract_of(mesh, width=32))
    assert checkpoints.steps() == [1]  # nothing was moved


def test_no_checkpoint_is_none(tmp_path):
  with opened(tmp_path) as checkpoints:
    assert checkpoints.restore(abstract_of(sharding.make_mesh(data=8, model=1))) is None
    assert checkpoints.best_step() is None


def test_what_a_killed_save_left_is_removed(tmp_path):
  """Named as Orbax names what it is writing."""
  left = tmp_path / "checkpoints" / f"7{TMP_DIR_SUFFIX}123"
  (left / "state").mkdir(parents=True)
  with opened(tmp_path) as checkpoints:
    assert checkpoints.steps() == []
  assert not left.exists()


def test_a_workdir_that_is_a_file(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot be written"):
    opened(tmp_path / "file")


def test_keeping_none_is_refused(tmp_path):
  with pytest.raises(UserError, match="keep_last=0"):
    opened(tmp_path, keep_last=0)


def test_leaf_shapes_see_through_containers():
  tuples = {"opt_state": (jnp.zeros(2), {"m": jnp.zeros((3, 1))})}
  lists = {"opt_state": [jnp.zeros(2), {"m": jnp.zeros((3, 1))}]}
  assert checkpointing.leaf_shapes(tuples) == checkpointing.leaf_shapes(lists)
  assert checkpointing.leaf_shapes(tuples) == {"opt_state/0": (2,), "opt_state/1/m": (3, 1)}
