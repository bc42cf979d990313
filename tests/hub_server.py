"""A stand-in for the Hugging Face Hub: what its client asks for to make a repository, commit files and fetch them."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Hub(BaseHTTPRequestHandler):
    """Answers the client; `repositories` holds the files of each repository by name, of a revision by name@revision."""

    repositories: dict[str, dict[str, bytes]]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.split("?")[0]
        if path == "/api/validate-yaml":
            self.answer(200, json.dumps({"errors": [], "warnings": []}).encode())
        elif "authorization" not in self.headers:
            self.answer(401, b"{}")
        elif path == "/api/repos/create":
            wanted = json.loads(content)
            repository = f"{wanted['organization']}/{wanted['name']}"
            self.repositories.setdefault(repository, {})
            if wanted.get("visibility") == "private":
                self.repositories[f"{repository}@private"] = {}
            self.answer(200, json.dumps({"url": f"http://{self.headers['Host']}/{repository}"}).encode())
        elif path.endswith("/preupload/main"):
            files = [file["path"] for file in json.loads(content)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in files]
            self.answer(200, json.dumps({"files": modes}).encode())
        elif path.endswith("/commit/main"):
            repository = path.removeprefix("/api/models/").removesuffix("/commit/main")
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    self.repositories[repository][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            commit = {"commitUrl": f"http://{self.headers['Host']}/{repository}/commit/1", "commitOid": "1" * 40}
            self.answer(200, json.dumps(commit).encode())

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            return self.answer(404, b"{}")
        user, name, _, revision, file = self.path.strip("/").split("/", 4)  # user/name/resolve/main/file
        if f"{user}/{name}" not in self.repositories:
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        files = self.repositories.get(f"{user}/{name}" if revision == "main" else f"{user}/{name}@{revision}")
        if files is None:
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if file not in files:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        tag = sha1(files[file]).hexdigest()
        return self.answer(200, files[file], {"ETag": f'"{tag}"', "X-Repo-Commit": sha1(revision.encode()).hexdigest()})

    do_HEAD = do_GET

    def answer(self, code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args) -> None:
        """Say nothing."""


@contextmanager
def serve() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    """Run a hub; give its address and its repositories."""
    hub = type("EmptyHub", (Hub,), {"repositories": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), hub) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", hub.repositories
        finally:
            server.shutdown()
            thread.join()
