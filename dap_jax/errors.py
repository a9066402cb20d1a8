"""The one exception for mistakes a user can cure; the commands print it as a single line."""


class UserError(ValueError):
  """A mistake in what the user gave: its message names the value, what was expected, the cure.

  Commands catch it, print `error: MESSAGE` and exit with status 1, without a traceback. Any other
  exception is a bug of ours and keeps its traceback.
  """


class NotFiniteError(UserError):
  """A model gives vectors with NaN or infinity in them, of which any score would be a wrong one."""
