"""How a command starts and ends: flags, logging, several hosts, one clear line for a mistake.

May import `distributed`, `workdir` and `utils`. Start with `command.py`.
"""
