"""A training step costs what benchmarks/step_costs.json says, or less: compilers count alike."""

import json

import pytest

from benchmarks import step_costs

MOST = 1.02


def check(name, costs):
  stored = json.loads(step_costs.FILE.read_text())
  if stored["versions"] != step_costs.versions():
    pytest.skip(f"counted with {stored['versions']}: write the file again with these versions")
  assert costs.keys() == stored[name].keys()
  grown = {what: costs[what] / stored[name][what] for what in costs}
  assert max(grown.values()) <= MOST, f"{name}: {grown}; python -m benchmarks.step_costs --write"


def test_the_demos_step_costs_no_more():
  check("demo", step_costs.demo_costs())


@pytest.mark.slow
def test_the_papers_step_costs_no_more():
  pytest.importorskip("libtpu", reason="needs libtpu, the TPU compiler")
  check("paper", step_costs.paper_costs())
