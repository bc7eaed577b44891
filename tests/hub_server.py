"""As much of the Hugging Face Hub as a push and a pull need, in this process."""

import base64
import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse

TOKEN = "hf_test"


class Hub:
    """Repositories by name, each {path: content}; `commits` counts what was pushed."""

    def __init__(self):
        self.repos, self.private, self.commits, self.truncated = {}, set(), 0, set()

    def sha(self, repo):
        """Return the commit that a repository is at."""
        content = sorted((path, hashlib.sha1(data).hexdigest()) for path, data in self.repos[repo].items())
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()

    def api(self, parts, body):
        """Answer a call of the API: (status, JSON)."""
        if parts == ["repos", "create"]:
            name = f"{body['organization']}/{body['name']}"
            status = 409 if name in self.repos else 200
            if status == 200 and body.get("visibility") == "private":
                self.private.add(name)
            self.repos.setdefault(name, {".gitattributes": b"*.bin lfs\n"})
            return status, {"url": f"/{name}"}
        if parts == ["validate-yaml"]:
            return 200, {}
        repo, rest = "/".join(parts[1:3]), parts[3:]
        if repo not in self.repos:
            return 404, {"error": "RepoNotFound"}
        files = self.repos[repo]
        if rest[:1] == ["preupload"]:
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in body["files"]]
            return 200, {"files": modes}
        if rest[:1] == ["commit"]:
            self.commit(files, body)
            return 200, {"commitUrl": f"/{repo}/commit/{self.sha(repo)}", "commitOid": self.sha(repo)}
        if rest[:1] == ["revision"] and rest[1] not in ("main", self.sha(repo)):
            return 404, {"error": "RevisionNotFound"}
        if rest[:1] == ["tree"]:
            return 200, [{"type": "file", "path": path, "size": len(c), "oid": "0" * 40} for path, c in files.items()]
        siblings = [{"rfilename": path} for path in files]
        return 200, {"id": repo, "sha": self.sha(repo), "private": repo in self.private, "siblings": siblings}

    def commit(self, files, lines):
        """Apply a commit to the files of a repository."""
        self.commits += 1
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]


class _Handler(http.server.BaseHTTPRequestHandler):
    hub = None

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        if path.startswith("/api/"):
            return self.answer_api({})
        repo, _, rest = path[1:].partition("/resolve/")
        commit, _, name = rest.partition("/")
        if repo not in self.hub.repos or name not in self.hub.repos[repo]:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = self.hub.repos[repo][name]
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit}
        return self.answer(200, content, headers, cut=name in self.hub.truncated)

    do_HEAD = do_GET

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        many = "ndjson" in self.headers["Content-Type"]
        self.answer_api([json.loads(line) for line in raw.splitlines()] if many else json.loads(raw))

    def answer_api(self, body):
        parts = urllib.parse.unquote(urllib.parse.urlparse(self.path).path).split("/")[2:]
        if self.command == "POST" and self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, b'{"error": "Invalid credentials"}', {})
        status, content = self.hub.api(parts, body)
        error = {"X-Error-Code": content["error"]} if "error" in content else {}
        return self.answer(status, json.dumps(content).encode(), error)

    def answer(self, status, content, headers, cut=False):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = cut

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    """Yield (hub, address) of a hub that answers until the end."""
    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
