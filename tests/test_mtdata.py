"""Corpora through the program mtdata: the real one, with an index of ours and a server on loopback.

Expected values: the file that the server has.
"""

import functools
import http.server
import shutil
import threading

import pytest

from dap_jax.data.readers import formats, mtdata_corpora
from dap_jax.utils.errors import UserError

PAIRS = [("Guten Tag", "Good day"), ("drei Äpfel", "three apples"), ("nein", "no")]
# mtdata takes mtdata*.py of the current folder into its index.
INDEX = """
def load_all(index):
  from mtdata.entry import Entry
  index.add_entry(Entry("Test-tiny-1-deu-eng", url="{url}/tiny.tsv"))
  index.add_entry(Entry("Test-absent-1-deu-eng", url="{url}/absent.tsv"))
"""
needs_mtdata = pytest.mark.skipif(
  shutil.which(mtdata_corpora.PROGRAM) is None, reason="the program mtdata is not on the PATH"
)


def read(ids, **arguments):
  return list(formats.read_rows("mtdata", pivot="en", ids=ids, **arguments))


@pytest.fixture
def server(tmp_path, monkeypatch):
  """An index and a cache of mtdata with two corpora, one of which can be fetched."""
  (tmp_path / "files").mkdir()
  lines = "".join(f"{de}\t{en}\n" for de, en in PAIRS)
  (tmp_path / "files" / "tiny.tsv").write_text(lines)
  handler = functools.partial(
    http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "files")
  )
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    (tmp_path / "mtdata_tests.py").write_text(INDEX.format(url=url))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MTDATA", str(tmp_path / "cache"))
    yield
    server.shutdown()


@pytest.mark.slow  # it makes an index of 290,000 corpora
@needs_mtdata
def test_a_corpus(server, capfd):
  assert read("Test-tiny-1-deu-eng") == [{"deu": de, "en": en} for de, en in PAIRS]
  rows = read("Test-tiny-1-deu-eng", languages=("de",))
  assert rows == [{"de": de, "en": en} for de, en in PAIRS]
  assert rows[1].where == "Test-tiny-1-deu-eng:2"
  first = next(formats.read_rows("mtdata", pivot="en", ids="Test-tiny-1-deu-eng"))  # and no more
  assert first["deu"] == "Guten Tag"
  for unknown in ("Test-absent-1-deu-eng", "Test-nothing-1-deu-eng"):
    with pytest.raises(UserError, match=f"'{unknown}': `mtdata echo` ended with status 1"):
      read(unknown)
  assert "absent.tsv" in capfd.readouterr().err


@pytest.mark.parametrize(
  ("ids", "languages", "message"),
  [
    ("OPUS-ccmatrix-deu-eng", (), "expected GROUP-NAME-VERSION-LANGUAGE-LANGUAGE, of en and anoth"),
    ("OPUS-ccmatrix-v1-deu-xx1", (), "expected GROUP-NAME"),
    ("OPUS-ccmatrix-v1-deu-eng", ("fr",), "of en and fr"),
    ("OPUS-ccmatrix-v1-deu-fra", (), r"neither side is en \(data.pivot\)"),
    ("--help", (), "expected GROUP-NAME"),
    ("", (), "ids"),
  ],
)
def test_mistakes(ids, languages, message):
  with pytest.raises(UserError, match=message):
    read(ids, languages=languages)


def test_without_the_program(monkeypatch):
  monkeypatch.setenv("PATH", "")
  with pytest.raises(UserError, match="needs the program mtdata on the PATH: install it in an"):
    read("OPUS-ccmatrix-v1-deu-eng")
