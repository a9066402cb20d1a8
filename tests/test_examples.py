"""The `Examples:` of docstrings give what they say."""

import doctest
import importlib
import pkgutil
import types

import jax
import jax.numpy as jnp
import pytest

from dap_jax.core.cross_entropy import FactoredLogits
from dap_jax.core.mean import Mean
from dap_jax.model.vocabulary import Vocabulary

# Every objective has an example, and what a newcomer calls first.
WITH_EXAMPLES = {
  *("core.cross_entropy", "core.geometry", "core.matryoshka", "core.mean"),
  *("core.microbatches", "core.objective"),
  *("core.optimizer", "core.unit_vectors", "distributed.parameters", "model.pooling"),
  *("evals.measures.answers", "evals.measures.chunks", "evals.measures.counts"),
  *("evals.xtreme.retrieval.bucc", "evals.xtreme.retrieval.layers", "evals.xtreme.sentence_pairs"),
}
# What an example may name beside the names of its own module.
NAMES = {
  "FactoredLogits": FactoredLogits,
  "Mean": Mean,
  "Vocabulary": Vocabulary,
  "jax": jax,
  "jnp": jnp,
  "types": types,
}


def modules_of(package: str) -> list[str]:
  folder = importlib.import_module(f"dap_jax.{package}")
  return [f"{package}.{module.name}" for module in pkgutil.iter_modules(folder.__path__)]


PACKAGES = ("core", "model", "objectives")
PACKAGES += ("evals.measures", "evals.xtreme", "evals.xtreme.scoring", "evals.xtreme.retrieval")
MODULES = [name for package in PACKAGES for name in modules_of(package)]


@pytest.mark.parametrize("name", [*MODULES, "distributed.parameters"])
def test_examples(name):
  module = importlib.import_module(f"dap_jax.{name}")
  results = doctest.testmod(module, extraglobs=NAMES)
  assert results.failed == 0
  is_objective = name.startswith("objectives.")
  assert results.attempted or not (is_objective or name in WITH_EXAMPLES), f"{name}: no example"


def test_the_list_names_modules():
  assert set(MODULES) | {"distributed.parameters"} >= WITH_EXAMPLES
