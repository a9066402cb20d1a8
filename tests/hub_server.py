"""A stand-in of the Hugging Face hub on loopback: the requests by which its client fetches a model
or a data set, and uploads a folder over git LFS.

What it answers follows https://huggingface.co/docs/hub/api and the client's own error codes.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMITS = {"main": "a" * 40, "v1": "b" * 40}  # revision -> commit
API = re.compile(
  r"/api/(?:models|datasets)/(?P<model>[^/]+/[^/]+)/(?P<what>revision|tree)/(?P<revision>[^/?]+)"
)
FILE = re.compile(
  r"/(?:datasets/)?(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>[^?]+)"
)
UPLOAD = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)/preupload/main")
COMMIT = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)/commit/main")
BATCH = re.compile(r"/(?P<model>[^/]+/[^/]+)\.git/info/lfs/objects/batch")


class Hub(ThreadingHTTPServer):
  """Serves the folders of `models`, name -> commit -> folder.

  Attributes:
    gated: names of models that only those may read who accepted their terms.
    cut: how many bytes of a file's body to send before the line breaks; None = all.
    served: path and first byte of each file that was asked for.
    token: what a writer has to show.
    repositories: name -> whether it is private, of those that were made here.
    uploaded: name of a repository -> path -> content, of all commits.
  """

  daemon_threads = True

  def __init__(self, models):
    super().__init__(("127.0.0.1", 0), Answer)
    self.models, self.gated, self.cut, self.served = models, set(), None, []
    self.token, self.repositories, self.uploaded, self.large = "hf_writer", {}, {}, {}
    self.address = f"http://127.0.0.1:{self.server_port}"

  def handle_error(self, request, client_address):
    """A line that was cut is no error to print."""


class Answer(BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"

  def do_HEAD(self):
    self.do_GET()

  def do_GET(self):
    match = API.match(self.path) or FILE.match(self.path)
    commits = self.server.models.get(match["model"], {}) if match else {}
    if not commits:
      return self.refuse(401, "RepoNotFound")
    if match["model"] in self.server.gated:
      return self.refuse(403, "GatedRepo")
    commit = COMMITS.get(match["revision"], match["revision"])
    if commit not in commits:
      return self.refuse(404, "RevisionNotFound")
    folder = commits[commit]
    if "path" in match.groupdict():
      return self.file(folder / match["path"], commit)
    files = [
      {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size}
      | {"oid": hashlib.sha1(path.read_bytes()).hexdigest()}
      for path in sorted(folder.rglob("*"))
      if path.is_file()
    ]
    names = [{"rfilename": file["path"]} for file in files]
    info = {"id": match["model"], "sha": commit, "siblings": names}
    return self.reply(json.dumps(info if match["what"] == "revision" else files).encode())

  def do_POST(self):
    length = self.headers.get("Content-Length")
    body = self.rfile.read(int(length)) if length else b"".join(self.chunks())
    hub = self.server
    if self.headers.get("Authorization") != f"Bearer {hub.token}":
      return self.refuse(401, "")
    if self.path == "/api/repos/create":
      asked = json.loads(body)
      name = (
        f"{asked['organization']}/{asked['name']}" if "organization" in asked else asked["name"]
      )
      status = 409 if name in hub.repositories else 200
      hub.repositories.setdefault(name, asked["visibility"] == "private")
      return self.reply_json({"url": f"{hub.address}/{name}", "id": name}, status=status)
    if self.path == "/api/validate-yaml":
      return self.reply_json({"errors": [], "warnings": []})
    if UPLOAD.match(self.path):
      files = json.loads(body)["files"]
      modes = [
        {"path": file["path"], "shouldIgnore": False, "oid": None}
        | {"uploadMode": "lfs" if file["path"].endswith((".safetensors", ".onnx")) else "regular"}
        for file in files
      ]
      return self.reply_json({"files": modes})
    if BATCH.match(self.path):
      asked = json.loads(body)["objects"]
      objects = [
        each | {"actions": {"upload": {"href": f"{hub.address}/large/{each['oid']}"}}}
        for each in asked
      ]
      return self.reply_json({"transfer": "basic", "objects": objects})
    if commit := COMMIT.match(self.path):
      self.commit(commit["model"], [json.loads(line) for line in body.splitlines()])
      url = f"{hub.address}/{commit['model']}/commit/{'c' * 40}"
      return self.reply_json({"commitUrl": url, "commitOid": "c" * 40, "success": True})
    return self.refuse(404, "")

  def do_PUT(self):
    oid, data = self.path.rsplit("/", 1)[1], self.rfile.read(int(self.headers["Content-Length"]))
    assert hashlib.sha256(data).hexdigest() == oid
    self.server.large[oid] = data
    self.reply(b"")

  def chunks(self):
    """The parts of a body that is sent in chunks."""
    while size := int(self.rfile.readline(), 16):
      yield self.rfile.read(size)
      self.rfile.readline()
    self.rfile.readline()

  def commit(self, model, lines):
    files = self.server.uploaded.setdefault(model, {})
    for line in lines:
      value = line["value"]
      if line["key"] == "file":
        files[value["path"]] = base64.b64decode(value["content"])
      elif line["key"] == "lfsFile":
        files[value["path"]] = self.server.large[value["oid"]]

  def reply_json(self, content, *, status=200):
    headers = {"Content-Type": "application/json"}
    self.reply(json.dumps(content).encode(), status=status, headers=headers)

  def file(self, path, commit):
    data = path.read_bytes()
    headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}
    asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
    first = int(asked[1]) if asked else 0
    if self.command == "GET":
      self.server.served.append((path.name, first))
    if asked:
      headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
    self.reply(data[first:], status=206 if asked else 200, headers=headers)

  def refuse(self, status, code):
    self.reply(b"{}", status=status, headers={"X-Error-Code": code, "X-Error-Message": code})

  def reply(self, body, *, status=200, headers=()):
    self.send_response(status)
    for name, value in {**dict(headers), "Content-Length": str(len(body))}.items():
      self.send_header(name, value)
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(body if self.server.cut is None else body[: self.server.cut])
      if self.server.cut is not None and len(body) > self.server.cut:
        self.close_connection = True

  def log_message(self, *_):
    pass


@contextlib.contextmanager
def serving(models):
  """A running `Hub`."""
  with Hub(models) as hub:
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield hub
    hub.shutdown()
    thread.join()
