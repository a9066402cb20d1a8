"""Which packages a wheel holds; everything else stands in pyproject.toml.

The folder `configs/` lies at the top of a checkout and inside the package of an installation, so
that no installation owns a top-level name as common as `configs`.
"""

import tempfile

from setuptools import find_packages, setup

# Not `build/` in the tree: what an earlier build left there would go into the wheel as well.
with tempfile.TemporaryDirectory() as folder:
  setup(
    packages=[*find_packages(include=["dap_jax*"]), "dap_jax.configs", "dap_jax.configs.sweeps"],
    package_dir={"dap_jax.configs": "configs"},
    options={"build": {"build_base": folder}},
  )
