"""The shipped configs: `--config=NAME` finds them from anywhere, `base.py` explains every key.

An installed dap_jax has this folder inside it. Config files, yours too, import one another as
`from configs import base`; dap_jax/cli/config_files.py sees to it.
"""
