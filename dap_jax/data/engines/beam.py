"""Work on the parts of a corpus by an Apache Beam pipeline, with the results in order.

FOLDER/inputs/HASH     a pickled part, and the function to apply to it
FOLDER/outputs/HASH    its pickled result

The folder is one that all of Beam's workers see: on a shared disk, or gs://. The hash is of what is
in the input, so a command that is started again finds what was done before. What is unpickled is
what those wrote who may write to the folder.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

from etils import epath

from dap_jax.data.engines.processes import Item, Result
from dap_jax.utils.errors import UserError

logger = logging.getLogger(__name__)


class BeamWorkers:
  """What `processes.Workers` does, by a pipeline for every `map`. A context.

  Args:
    folder: for the parts; removed at the end, unless there was an error.
    options: Beam's own, e.g. `--runner=DirectRunner`.

  Raises:
    UserError: Beam is not installed, or there is no such option.
  """

  def __init__(self, folder: epath.Path, options: Sequence[str]):
    try:
      from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
      raise UserError("--engine=beam needs Apache Beam: pip install 'dap-jax[beam]'") from error
    self._folder = folder
    self._options = PipelineOptions(list(options))
    known = self._options.get_all_options()
    given = self._options.get_all_options(retain_unknown_options=True)
    if unknown := sorted(given.keys() - known.keys()):
      raise UserError(f"--beam_option: Beam has no option {', '.join(unknown)}")

  def __enter__(self) -> BeamWorkers:
    return self

  def __exit__(self, kind: type[BaseException] | None, *_) -> None:
    if kind is None and self._folder.exists():
      self._folder.rmtree()

  def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    import apache_beam as beam

    for part in ("inputs", "outputs"):
      (self._folder / part).mkdir(parents=True, exist_ok=True)
    names = [self._keep(pickle.dumps((function, item))) for item in items]
    outputs = self._folder / "outputs"
    waiting = [name for name in dict.fromkeys(names) if not (outputs / name).exists()]
    logger.info("a pipeline of %d parts; %d are done", len(waiting), len(names) - len(waiting))
    if waiting:
      with beam.Pipeline(options=self._options) as pipeline:
        _ = (
          pipeline
          | beam.Create(waiting)
          | beam.Reshuffle()  # or all parts would stay with one worker
          | beam.Map(work, folder=str(self._folder))
        )
    for name in names:
      yield pickle.loads((outputs / name).read_bytes())

  def _keep(self, part: bytes) -> str:
    """Writes an input where it is not yet written; returns its name."""
    name = hashlib.sha256(part).hexdigest()
    write_once(self._folder / "inputs" / name, part)
    return name


def write_once(path: epath.Path, content: bytes) -> None:
  """Writes a file that always has the same content, whole or not at all.

  Two workers may do so at the same time: Beam tries again what takes long.
  """
  if not path.exists():
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_bytes(content)
    temporary.replace(path)


def work(name: str, folder: str) -> None:
  """One part, by one of Beam's workers."""
  function, item = pickle.loads((epath.Path(folder) / "inputs" / name).read_bytes())
  write_once(epath.Path(folder) / "outputs" / name, pickle.dumps(function(item)))
