"""What the server does for those who publish: repos, uploads, commits and releases."""

from __future__ import annotations

import base64
import json
import time
from io import BytesIO
from typing import Any

from starlette.responses import JSONResponse, Response

from cellzoo.hub.call import Call, Refusal, sign
from cellzoo.hub.depot import check_path

LARGE = 8 << 20
"""Files above this size are streamed, by clients that would not use Xet instead."""
UPLOAD_SECONDS = 3600


def create(call: Call) -> Response:
    """``POST /api/repos/create``."""
    wanted = call.json()
    kind = wanted.get("type") or "model"
    if kind not in {"model", "dataset"} or wanted.get("private") or wanted.get("visibility") == "private":
        raise Refusal(501, "only public repos of models and data sets are offered here")
    depot = call.depot.datasets() if kind == "dataset" else call.depot
    repo = str(wanted["name"])
    if "/" not in repo:
        repo = f"{wanted.get('organization') or (call.user.name if call.user else '')}/{repo}"
    call.check_owner(repo)
    answer = {"url": f"{call.origin}/{'datasets/' if kind == 'dataset' else ''}{repo}", "name": repo, "id": repo}
    if depot.head(repo) is not None:
        message = f"You already created this {kind} repo: {repo}"
        return JSONResponse(answer | {"error": message}, 409, {"X-Error-Message": message})
    depot.commit(repo, {}, "initial commit")
    return JSONResponse(answer)


def preupload(call: Call, repo: str, branch: str) -> Response:
    """``POST /api/models/REPO/preupload/BRANCH``: say how each file is to be sent."""
    head = call.writable(repo)
    _check_branch(call, branch)
    old, streams = call.depot.files(repo, head), "cellzoo/" in call.request.headers.get("user-agent", "")
    files = []
    for file in call.json()["files"]:
        path = check_path(file["path"])
        mode = "lfs" if streams and int(file["size"]) > LARGE else "regular"
        answer = {"path": path, "uploadMode": mode, "shouldIgnore": False}
        if path in old:
            answer["oid"] = old[path].sha256 if mode == "lfs" else call.depot.git_oid(old[path].sha256)
        files.append(answer)
    return JSONResponse({"files": files, "commitOid": head})


def commit(call: Call, repo: str, branch: str) -> Response:
    """``POST /api/models/REPO/commit/BRANCH``: one step a line, one commit in all."""
    old = call.depot.files(repo, call.writable(repo))
    _check_branch(call, branch)
    header: dict[str, Any] = {}
    changes: dict[str, str | None] = {}
    for line in call.body:
        key, value = (step := json.loads(line))["key"], step["value"]
        match key:
            case "header":
                header = value
            case "file":
                content = value["content"]
                raw = base64.b64decode(content) if value.get("encoding") == "base64" else content.encode()
                changes[check_path(value["path"])] = call.depot.put_blob(BytesIO(raw)).sha256
            case "lfsFile":
                changes[check_path(value["path"])] = value["oid"]
            case "deletedFile" if value["path"] in old:
                changes[value["path"]] = None
            case "deletedFile":
                raise Refusal(404, f"A file with this name doesn't exist: {value['path']}", "EntryNotFound")
            case "deletedFolder":
                folder = value["path"].rstrip("/") + "/"
                changes |= dict.fromkeys(path for path in old if path.startswith(folder))
            case _:
                raise Refusal(400, f"unknown step {key!r} in a commit")
    message = "\n\n".join(filter(None, [header.get("summary"), header.get("description")]))
    made = call.depot.commit(repo, changes, message, expect_head=header.get("parentCommit"))
    url = f"{call.origin}/{repo}/commit/{made}"
    return JSONResponse({"success": True, "commitOid": made, "commitUrl": url, "hookOutput": ""})


def tag(call: Call, repo: str, revision: str) -> Response:
    """``POST /api/models/REPO/tag/REVISION``: release a commit, once and for all."""
    call.writable(repo)
    wanted = call.json()["tag"]
    if old := call.depot.tags(repo).get(wanted):
        raise Refusal(409, f"{wanted} is already released, as commit {old}; releases are immutable")
    call.depot.tag(repo, wanted, revision)
    return JSONResponse({})


def untag(call: Call, repo: str, release: str) -> Response:
    """``DELETE /api/models/REPO/tag/TAG``: never."""
    call.writable(repo)
    raise Refusal(403, f"releases are immutable: {release} stays; publish a new one")


def lfs_batch(call: Call, repo: str) -> Response:
    """``POST /REPO.git/info/lfs/objects/batch``: hand out addresses to upload to."""
    call.writable(repo.removesuffix(".git"))
    wanted = call.json()
    if wanted.get("operation") != "upload":
        raise Refusal(501, "files are fetched from /resolve, LFS is for uploads")
    objects, until = [], int(time.time()) + UPLOAD_SECONDS
    for item in wanted["objects"]:
        sha256, size = str(item["oid"]), int(item["size"])
        answer: dict[str, Any] = {"oid": sha256, "size": size}
        if not call.depot.has_blob(sha256):
            query = f"size={size}&until={until}&signature={sign(call.secret, sha256, size, until)}"
            answer["actions"] = {
                "upload": {"href": f"{call.origin}/lfs/{sha256}?{query}"},
                "verify": {"href": f"{call.origin}/lfs/{sha256}/verify"},
            }
        objects.append(answer)
    batch = {"transfer": "basic", "objects": objects, "hash_algo": "sha256"}
    return JSONResponse(batch, media_type="application/vnd.git-lfs+json")


def lfs_put(call: Call, sha256: str) -> Response:
    """``PUT /lfs/SHA256``; the server checked the signature before it took the body."""
    blob = call.depot.put_blob(call.body)
    if blob.sha256 != sha256:
        raise Refusal(400, f"the bytes have sha256 {blob.sha256}, expected {sha256}; upload again")
    return Response()


def lfs_verify(call: Call, sha256: str) -> Response:
    """``POST /lfs/SHA256/verify``."""
    size = call.json()["size"]
    if call.user is None or not call.depot.has_blob(sha256) or call.depot.size(sha256) != size:
        raise Refusal(404, f"no blob {sha256} of {size} bytes; upload it again")
    return JSONResponse({})


def _check_branch(call: Call, branch: str) -> None:
    if call.request.query_params.get("create_pr"):
        raise Refusal(501, "pull requests are not offered here; commit to main")
    if branch != "main":
        raise Refusal(404, f"no branch {branch!r}, expected main", "RevisionNotFound")
