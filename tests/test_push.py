"""`export --push_to_hub`, to a stand-in of the hub: what arrives is the folder, byte for byte."""

import pytest

from tests.hub_server import serving


@pytest.fixture
def hub():
  with serving({}) as server:
    yield server


def settings(hub, tmp_path, *, token="hf_writer"):
  """Of the environment; the client reads them as it is imported."""
  names = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
  names |= {"HF_HOME": str(tmp_path / "home")}
  return names | ({"HF_TOKEN": token} if token else {})


def export(commands, folder, *flags, **how):
  arguments = [f"--workdir={commands.straight}", f"--output={folder}", *flags]
  return commands.run("export", *arguments, cold=True, **how)


def test_a_private_repository_gets_the_folder(commands, hub, tmp_path):
  """Made by the first push; the second has it already, and its commit comes on top."""
  for name in ("one", "two"):
    folder = tmp_path / name
    said = export(commands, folder, "--push_to_hub=org/mine", **settings(hub, tmp_path))
    assert f"uploaded to {hub.address}/org/mine" in said
  files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
           if path.is_file()}  # fmt: skip
  assert hub.repositories == {"org/mine": True}
  assert hub.uploaded["org/mine"] == files and len(files) > 8


def test_a_public_one(commands, hub, tmp_path):
  flags = ["--push_to_hub=org/open", "--public"]
  export(commands, tmp_path / "out", *flags, **settings(hub, tmp_path))
  assert hub.repositories == {"org/open": False}


@pytest.mark.parametrize(
  ("flag", "token", "message"),
  [
    ("--push_to_hub=mine", "hf_writer", "expected ORGANISATION/NAME"),
    ("--push_to_hub=org/mine", "", "knows nobody here: log in"),
  ],
)
def test_what_cannot_work_fails_before_the_work(commands, hub, tmp_path, flag, token, message):
  said = export(commands, tmp_path / "out", flag, status=1, **settings(hub, tmp_path, token=token))
  assert message in said and not (tmp_path / "out").exists()


def test_a_refusal_costs_no_work(commands, hub, tmp_path):
  how = settings(hub, tmp_path, token="hf_reader")
  said = export(commands, tmp_path / "out", "--push_to_hub=org/mine", status=1, **how)
  assert "your token may not write there" in said and "Traceback" not in said
  assert f"hf upload org/mine {tmp_path}/out" in said
  assert (tmp_path / "out" / "model.safetensors").exists() and not hub.uploaded


def test_flags_that_say_nothing(commands, tmp_path):
  flags = [f"--workdir={commands.straight}", f"--output={tmp_path}/out"]
  said = commands.run("export", *flags, "--public", status=2)
  assert "--public has no effect without --push_to_hub" in said
