"""`selfcheck` on devices that are in order, and what it says of those that are not."""

import jax
import pytest

from dap_jax.planning import checks
from tests.test_build import settings_of

CHECKS = ["determinism", "resume", "mesh", "microbatches", "speed"]


def test_the_command(commands, tmp_path):
  flags = [f"--config=tests/tiny.py:{commands.corpus}", f"--workdir={tmp_path / 'check'}"]
  said = commands.run("selfcheck", *flags, devices=8)
  lines = [line.split() for line in said.splitlines() if line.startswith(("ok", "WRONG"))]
  assert [line[:2] for line in lines] == [["ok", name] for name in CHECKS]
  assert "MB/s" in said and "pairs/s" in said
  assert not any((tmp_path / "check").iterdir())  # the checkpoint is gone
  assert "--config is needed" in commands.fail("selfcheck", status=2)


@pytest.fixture
def own(tmp_path):
  from configs import demo

  config = demo.get_config().to_dict() | settings_of()
  config |= {"batch_size": 16, "tokenizer": {"vocabulary_size": 50}}
  return checks.Checks(config, folder=str(tmp_path))


def test_other_losses_are_wrong(own):
  assert own._near("mesh", [1.0, 2.0], [1.0, 2.00001], "one device").ok
  check = own._near("mesh", [1.0, 2.0], [1.0, 2.1], "one device")
  assert not check.ok
  assert check.message == "losses are 4.8e-02 from those of one device"


def test_a_step_that_is_not_repeatable_is_found(own):
  train_program, batch = own._train_program()
  state, losses = own._train(train_program, batch)
  assert own._determinism(train_program, batch, state, losses).ok
  moved = jax.tree.map(lambda leaf: leaf, state)._replace(step=state.step + 1)
  assert not own._determinism(train_program, batch, moved, losses).ok
  assert not own._determinism(train_program, batch, state, [0.0, *losses[1:]]).ok
