"""`python -m dap_jax COMMAND`, the same as `dap-jax COMMAND`."""

from dap_jax.cli.main import main

if __name__ == "__main__":
  main()
