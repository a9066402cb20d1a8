"""Hub ids: from the hub's cache, and from a stand-in of the hub; what it refuses costs one line."""

import shutil

import huggingface_hub.constants
import numpy as np
import pytest

from dap_jax.hub import download
from dap_jax.inference import embedder
from dap_jax.utils.errors import UserError
from tests.hub_folders import TEXTS, small_bert
from tests.hub_server import COMMITS, serving


@pytest.fixture(scope="module")
def models(tmp_path_factory):
  """A model of two revisions, and one whose weights are pickled."""
  folder = tmp_path_factory.mktemp("models")
  small_bert(folder / "main", seed=0)
  small_bert(folder / "v1", seed=1)
  shutil.copytree(folder / "main", folder / "pickled")
  (folder / "pickled" / "model.safetensors").rename(folder / "pickled" / "pytorch_model.bin")
  commits = {COMMITS[name]: folder / name for name in COMMITS}
  return {"org/tiny": commits, "org/old": {COMMITS["main"]: folder / "pickled"}}


@pytest.fixture
def hub(models, tmp_path, monkeypatch):
  """The stand-in, asked by this process instead of the hub; the cache is empty."""
  with serving(models) as server:
    point_at(monkeypatch, server.address, tmp_path / "cache")
    yield server


def point_at(monkeypatch, address, cache, *, offline=False):
  """Sets what HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE set when the client is imported."""
  constants = huggingface_hub.constants
  monkeypatch.setattr(constants, "ENDPOINT", address)
  template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
  monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
  monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)


def refused(name):
  with pytest.raises(UserError) as caught:
    download.local_folder(name)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def in_cache(models, cache, name="org/tiny"):
  """A snapshot as the client leaves it."""
  root = cache / f"models--{name.replace('/', '--')}"
  (root / "refs").mkdir(parents=True)
  for revision in ("main", "v1"):
    (root / "refs" / revision).write_text(COMMITS[revision])
    shutil.copytree(models[name][COMMITS[revision]], root / "snapshots" / COMMITS[revision])


def test_what_is_in_the_cache_loads_without_the_hub(models, tmp_path, monkeypatch):
  """With HF_HUB_OFFLINE, and with no connection."""
  in_cache(models, tmp_path / "cache")
  expected = embedder.load(str(models["org/tiny"][COMMITS["main"]])).encode(TEXTS)
  for offline in (True, False):
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache", offline=offline)
    np.testing.assert_array_equal(embedder.load("org/tiny").encode(TEXTS), expected)
  assert COMMITS["v1"] in str(download.local_folder("org/tiny@v1"))


def test_the_hub_is_asked_once(hub, models):
  folder = download.local_folder("org/tiny")
  original = models["org/tiny"][COMMITS["main"]]
  for file in original.iterdir():
    if file.suffix in (".json", ".safetensors", ".model"):
      assert (folder / file.name).read_bytes() == file.read_bytes(), file.name
  fetched = len(hub.served)
  assert download.local_folder("org/tiny") == folder
  assert len(hub.served) == fetched


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, models):
  vectors = embedder.load("org/tiny@v1").encode(TEXTS)
  other = embedder.load(str(models["org/tiny"][COMMITS["v1"]])).encode(TEXTS)
  np.testing.assert_array_equal(vectors, other)
  assert (embedder.load("org/tiny").encode(TEXTS) != vectors).any()
  assert download.local_folder(f"org/tiny@{COMMITS['v1']}") == download.local_folder("org/tiny@v1")


def test_a_line_that_breaks_is_taken_up_where_it_broke(hub, models, monkeypatch):
  monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # not 10 MB
  hub.cut = 150_000
  folder = download.local_folder("org/tiny")
  assert ("model.safetensors", 150_000) in hub.served
  original = models["org/tiny"][COMMITS["main"]] / "model.safetensors"
  assert (folder / "model.safetensors").read_bytes() == original.read_bytes()


@pytest.mark.slow  # the client tries five times, with pauses
def test_what_arrived_whole_is_not_fetched_again(hub):
  hub.cut = 20_000
  line = refused("org/tiny")
  assert "failed: peer closed connection" in line
  assert "try again, or fetch it elsewhere" in line
  hub.cut = None
  hub.served.clear()
  download.local_folder("org/tiny")
  files = {name for name, _ in hub.served}
  assert "model.safetensors" in files
  assert "config.json" not in files


def test_what_the_hub_refuses_is_one_line(hub, models, monkeypatch):
  hub.gated.add("org/tiny")
  assert "accept them there, then log in" in refused("org/tiny")
  hub.gated.clear()
  assert "has no such model, or a private one: check the name" in refused("org/tinny")
  assert "not that revision: name a branch, a tag or a commit" in refused("org/tiny@v2")
  assert "pickled weights only" in refused("org/old")


def test_offline_without_a_snapshot(models, tmp_path, monkeypatch):
  cache = tmp_path / "cache"
  point_at(monkeypatch, "http://127.0.0.1:9", cache, offline=True)
  line = refused("org/tiny")
  assert "since HF_HUB_OFFLINE is set" in line
  assert str(cache) in line
  point_at(monkeypatch, "http://127.0.0.1:9", cache)
  assert "http://127.0.0.1:9 cannot be asked; it is not in the cache" in refused("org/tiny")
  in_cache(models, cache)
  assert "not in the cache" in refused("org/tiny@v9")


@pytest.mark.parametrize("name", ["", " ", "a/b/c", "org/", "org/tiny@", "org/tiny@a b", "../../x"])
def test_what_is_no_id(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "d").mkdir()
  assert "no id of a model hub" in refused(name or "x y")


@pytest.mark.slow
def test_embed_by_hub_id_from_a_cold_start(commands, models, tmp_path):
  """As a user runs it, all by environment variables."""
  (tmp_path / "t.txt").write_text("red page\nnew file\n")
  with serving(models) as server:
    variables = {"HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0"}
    variables["HF_HUB_CACHE"] = str(tmp_path / "cache")
    flags = [f"--input={tmp_path}/t.txt", f"--output={tmp_path}/v.npy"]
    commands.run("embed", "--model=org/tiny@v1", *flags, cold=True, **variables)
    line = commands.fail("embed", "--model=org/none", *flags, cold=True, **variables)
  assert "has no such model" in line
  expected = embedder.load(str(models["org/tiny"][COMMITS["v1"]])).encode(["red page", "new file"])
  np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-6)
