"""Settings that bite: eight devices, no silent broadcasting, keys used once.

What is compiled is kept between runs of the tests, for all workers and the commands they start.
"""

import os
import pathlib

from tests import compilation_cache

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from tests.xla_flags import QUICK  # noqa: E402

os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '')}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compilation_cache.folder()))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax  # noqa: E402
import pytest  # noqa: E402

pytest.register_assert_rewrite("tests.commands")
from tests.commands import Commands, kill_started  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


def pytest_configure(config):
  if not hasattr(config, "workerinput"):  # the one process that starts the workers
    compilation_cache.limit(compilation_cache.folder())


@pytest.fixture(scope="session")
def shared():
  """The development folder beside the project; tests that need it skip where it is absent."""
  folder = pathlib.Path(__file__).parents[2] / "shared"
  if not folder.is_dir():
    pytest.skip("needs the development folder ../shared, which is absent")
  return folder


@pytest.fixture(scope="session")
def common(tmp_path_factory):
  """A folder that all workers share."""
  base = tmp_path_factory.getbasetemp()
  return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "common"


@pytest.fixture(scope="session")
def commands(tmp_path_factory, common):
  """Commands on a corpus, and a run of 60 steps that was never interrupted."""
  return Commands(tmp_path_factory.mktemp("commands"), shared=common).straight_run()


@pytest.fixture(autouse=True)
def nothing_runs_on():
  yield
  kill_started()


# Files of a few long tests; begun last, one of them would keep a worker when the others are done.
LONG = ("test_elastic.py", "test_program.py", "test_pod_program.py", "test_selfcheck.py")


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: item.path.name not in LONG)
