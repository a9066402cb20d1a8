"""Commands in real processes that need not import anything: forks of one that has.

`python -m dap_jax.train` imports for seconds before it does anything: JAX, Orbax, TensorFlow. The
fork server of multiprocessing (one for each worker of pytest, begun at its first use) has imported
all of it, and has no JAX backend; its threads (OpenBLAS's, say) are idle. A command is a fork of
it with its own flags, environment, folder and output. It ends, fails and is killed as a cold one;
only what happens before `main` (imports, the environment as it is read at import) is not as at a
cold start.
"""

import atexit
import io
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


def apply_to_jax(environment):
  """What JAX read of the environment when it was imported, read again."""
  import jax

  for name, value in jax.config.values.items():
    setting = environment.get(name.upper())
    if setting is None or not name.startswith("jax_"):
      continue
    if isinstance(value, bool):
      setting = setting.lower() in ("1", "true", "yes", "on", "y", "t")
    elif isinstance(value, (int, float)):
      setting = type(value)(setting)
    if setting != value:
      jax.config.update(name, setting)


def run_module(module, flags, environment, folder, out, err):
  """In the fork: `python -m module flags`."""
  for number, pipe in ((1, out), (2, err)):
    os.dup2(pipe.fileno(), number)
    pipe.close()
  for name, number in (("stdout", 1), ("stderr", 2)):
    stream = io.TextIOWrapper(
      os.fdopen(number, "wb", closefd=False), encoding="utf-8", write_through=number == 2
    )
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)
  os.environ.clear()
  os.environ.update(environment)
  os.chdir(folder)
  sys.path[0] = str(folder)
  sys.argv = [module, *flags]
  apply_to_jax(environment)
  try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
  finally:  # as at the end of an interpreter, which a fork of multiprocessing does not come to
    threading._shutdown()
    atexit._run_exitfuncs()


class WarmProcess:
  """As much of subprocess.Popen, with both outputs piped as text, as the tests use."""

  def __init__(self, module, flags, *, environment, folder):
    (out, out_writer), (err, err_writer) = (CONTEXT.Pipe(duplex=False) for _ in range(2))
    arguments = (module, flags, environment, folder, out_writer, err_writer)
    self.process = CONTEXT.Process(target=run_module, args=arguments)
    self.process.start()
    for writer in (out_writer, err_writer):
      writer.close()
    self.files = [
      os.fdopen(os.dup(pipe.fileno()), encoding="utf-8", errors="replace") for pipe in (out, err)
    ]
    for pipe in (out, err):
      pipe.close()

  @property
  def pid(self):
    return self.process.pid

  @property
  def returncode(self):
    return self.process.exitcode

  def poll(self):
    return self.process.exitcode

  def wait(self, timeout=None):
    self.process.join(timeout)
    if self.returncode is None:
      raise subprocess.TimeoutExpired("a warm process", timeout)
    return self.returncode

  def communicate(self, timeout=None):
    """What it wrote to its outputs, once it has ended."""
    texts = [None, None]

    def read(number):
      texts[number] = self.files[number].read()

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in (0, 1)]
    for thread in threads:
      thread.start()
    self.wait(timeout)
    for thread, file in zip(threads, self.files, strict=True):
      thread.join()
      file.close()
    return tuple(texts)

  def send_signal(self, number):
    if self.poll() is None:
      os.kill(self.pid, number)

  def kill(self):
    self.send_signal(signal.SIGKILL)

  def terminate(self):
    self.send_signal(signal.SIGTERM)
