"""Settings that bite: eight devices, no silent broadcasting, keys used once."""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from tests.xla_flags import QUICK  # noqa: E402

os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')}"

import jax  # noqa: E402
import pytest  # noqa: E402

pytest.register_assert_rewrite("tests.commands")
from tests.commands import Commands  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture(scope="session")
def shared():
  """The development folder beside the project; tests that need it skip where it is absent."""
  folder = pathlib.Path(__file__).parents[2] / "shared"
  if not folder.is_dir():
    pytest.skip("needs the development folder ../shared, which is absent")
  return folder


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
  """Commands on a corpus, and a run of 60 steps that was never interrupted."""
  return Commands(tmp_path_factory.mktemp("commands")).straight_run()


# Files of a few long tests; begun last, one of them would keep a worker when the others are done.
LONG = ("test_elastic.py", "test_program.py", "test_pod_program.py", "test_selfcheck.py")


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: item.path.name not in LONG)
