"""docs/from-python.ipynb runs from its first cell to its last."""

import contextlib
import io
import json

from tests.commands import ROOT

NOTEBOOK = ROOT / "docs" / "from-python.ipynb"


def test_cells_run_in_order_and_print_what_they_show(commands, tmp_path, monkeypatch):
  """On the tests' run, whose numbers are others; where the page shows output there is some."""
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
  assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
  for cell in cells:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), scope)
    shown = "".join(line for output in cell["outputs"] for line in output["text"])
    assert bool(printed.getvalue()) == bool(shown)
