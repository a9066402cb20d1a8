"""docs/from-python.ipynb runs from its first cell to its last."""

import contextlib
import io
import json

from tests.commands import ROOT

NOTEBOOK = ROOT / "docs" / "from-python.ipynb"


def test_cells_run_in_order(commands, tmp_path, monkeypatch):
  """On the tests' run in the place of the demo's; no cell keeps the output of another model."""
  run = tmp_path / "runs" / "demo"
  run.mkdir(parents=True)
  for path in commands.straight.iterdir():
    (run / path.name).symlink_to(path)
  commands.run("export", f"--workdir={commands.straight}", f"--output={run / 'final'}")
  monkeypatch.chdir(tmp_path)
  scope = {"__name__": "__notebook__"}
  cells = [
    cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"
  ]
  for cell in cells:
    assert not cell["outputs"] and cell["execution_count"] is None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
      exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), scope)
    assert printed.getvalue().strip()
