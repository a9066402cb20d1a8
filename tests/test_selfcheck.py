"""`selfcheck` on devices that are in order, and what it says of those that are not."""

import jax
import pytest

from dap_jax.planning import checks
from tests.test_build import settings_of

CHECKS = ["determinism", "resume", "mesh", "microbatches", "speed"]


def test_the_command(commands, tmp_path):
  flags = [f"--config=tests/tiny.py:{commands.corpus}", f"--workdir={tmp_path / 'check'}"]
  output = commands.run("selfcheck", *flags, devices=8)
  lines = [line.split() for line in output.splitlines() if line.startswith(("ok", "WRONG"))]
  assert [line[:2] for line in lines] == [["ok", name] for name in CHECKS]
  assert "MB/s" in output and "pairs/s" in output
  assert not any((tmp_path / "check").iterdir())  # the checkpoint is gone
  assert "--config is needed" in commands.fail("selfcheck", status=2)


@pytest.fixture
def all_checks(tmp_path):
  from configs import demo

  config = demo.get_config().to_dict() | settings_of()
  config |= {"batch_size": 16, "tokenizer": {"vocabulary_size": 50}}
  return checks.Checks(config, folder=str(tmp_path))


def test_other_losses_are_wrong(all_checks):
  assert all_checks._near("mesh", [1.0, 2.0], [1.0, 2.00001], "one device").ok
  check = all_checks._near("mesh", [1.0, 2.0], [1.0, 2.1], "one device")
  assert not check.ok
  assert check.message == "losses are 4.8e-02 from those of one device"


def test_a_step_that_is_not_repeatable_is_found(all_checks):
  train_program, batch = all_checks._train_program()
  state, losses = all_checks._train(train_program, batch)
  assert all_checks._determinism(train_program, batch, state, losses).ok
  moved = jax.tree.map(lambda leaf: leaf, state)._replace(step=state.step + 1)
  assert not all_checks._determinism(train_program, batch, moved, losses).ok
  assert not all_checks._determinism(train_program, batch, state, [0.0, *losses[1:]]).ok
