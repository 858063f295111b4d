"""Where releases live: a folder, huggingface.co, or a server that speaks its protocol.

Tokens belong to one place each. ``HF_TOKEN``, or what ``hf auth login`` stored, goes to https://huggingface.co only.
For any other server set ``CELLZOO_TOKENS`` to ``<origin>=<token>``, several separated by blanks:

    CELLZOO_TOKENS="https://hub.institute.org=abc http://127.0.0.1:8000=xyz"
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import unquote, urlsplit

from cellzoo import settings
from cellzoo.errors import CellzooError, InputError, IntegrityError, NotFoundError, WorldError
from cellzoo.hub.cache import Cache, FileInfo, Listing, Pulled, release_files
from cellzoo.hub.depot import Depot, HeadMovedError
from cellzoo.hub.names import check_repo, check_revision, check_tag, is_commit, release_order
from cellzoo.models.files import RELEASE_FILES

if TYPE_CHECKING:
    from huggingface_hub import GitRefs, HfApi

RepoKind = Literal["model", "dataset"]
HUGGING_FACE = "https://huggingface.co"


class Remote(Protocol):
    """A place that releases are pushed to and pulled from."""

    def push(self, repo: str, folder: Path, message: str, tag: str | None) -> str:
        """Publish a folder as one commit, tag it, and return the commit id."""

    def push_dataset(self, repo: str, files: Mapping[str, Path], message: str) -> str:
        """Make these the files of a repo of data, in one commit, and return its id."""

    def listing(self, repo: str, revision: str) -> Listing:
        """List the files of a revision."""

    def pull(self, repo: str, revision: str) -> Pulled:
        """Bring a revision into the cache, verified."""

    def tags(self, repo: str) -> dict[str, str]:
        """Return the commit of each tag, oldest release first."""

    def models(self) -> list[str]:
        """Return the ids of all cellzoo models, sorted."""


def open_remote(where: str, to_read: bool = False) -> Remote:
    """Open a remote: a folder, a ``file://`` URL, or the ``http(s)://`` URL of a Hub.

    NotFoundError for a folder ``to_read`` that is not there; one to push to is made.
    """
    remote = _remote(where)
    if to_read and isinstance(remote, FolderRemote) and not remote.depot.root.is_dir():
        raise NotFoundError(f"{where}: there is no such folder of releases. Correct --remote, or CELLZOO_REMOTE.")
    return remote


def _remote(where: str) -> Remote:
    if where.startswith(("http://", "https://")):
        return HubRemote(where)
    if where.startswith("file://"):
        return FolderRemote(Path(unquote(urlsplit(where).path)))
    if "://" in where:
        raise InputError(f"remote {where!r}: expected a folder, file://, http:// or https://; set CELLZOO_REMOTE")
    return FolderRemote(Path(where).expanduser())


class FolderRemote:
    """Releases in a folder; no network, no token."""

    def __init__(self, folder: Path) -> None:
        self.depot = Depot(folder)
        self.cache = _cache(str(folder.absolute()), folder.name)

    def push(self, repo: str, folder: Path, message: str, tag: str | None) -> str:
        """Publish a folder as one commit, tag it, and return the commit id."""
        files = release_files(folder)
        _refuse_released(repo, tag, self.tags(repo))
        with _disk(self.depot.root):
            changes: dict[str, str | None] = dict.fromkeys(RELEASE_FILES)
            changes |= {name: self.depot.put_blob(path).sha256 for name, path in files.items()}
            return self.depot.commit(repo, changes, message, tag=tag)

    def push_dataset(self, repo: str, files: Mapping[str, Path], message: str) -> str:
        """Make these the files of a repo of data, in one commit, and return its id."""
        depot = self.depot.datasets()
        with _disk(depot.root):
            head = depot.head(repo)
            changes: dict[str, str | None] = dict.fromkeys(depot.files(repo, head) if head else ())
            changes |= {name: depot.put_blob(path).sha256 for name, path in files.items()}
            return depot.commit(repo, changes, message)

    def listing(self, repo: str, revision: str) -> Listing:
        """List the files of a revision."""
        commit = self.depot.resolve(repo, revision)
        files = self.depot.files(repo, commit)
        return Listing(commit, {path: FileInfo(blob.size, blob.sha256) for path, blob in files.items()})

    def pull(self, repo: str, revision: str) -> Pulled:
        """Bring a revision into the cache, verified."""
        listing = self.listing(repo, revision)

        def fetch(name: str, into: Path) -> Path:
            with self.depot.open_blob(listing.files[name].sha256 or "") as source, (into / name).open("wb") as sink:
                shutil.copyfileobj(source, sink)
            return into / name

        with _disk(self.cache.root):
            return self.cache.pull(repo, revision, listing, fetch)

    def tags(self, repo: str) -> dict[str, str]:
        """Return the commit of each tag, oldest release first."""
        return self.depot.tags(repo)

    def models(self) -> list[str]:
        """Return the ids of all cellzoo models, sorted."""
        return self.depot.repos()


class HubRemote:
    """Releases on a server that speaks the Hub protocol, through the client that everybody uses."""

    def __init__(self, endpoint: str) -> None:
        url = urlsplit(endpoint.rstrip("/"))
        if not url.hostname or url.username or url.query or url.fragment:
            raise InputError(
                f"remote {endpoint!r}: expected http(s)://host[:port][/path], and tokens in CELLZOO_TOKENS"
            )
        self.origin = f"{url.scheme}://{url.netloc.lower()}"
        self.endpoint = self.origin + url.path
        self.cache = _cache(self.endpoint, url.netloc.lower())

    def push(self, repo: str, folder: Path, message: str, tag: str | None) -> str:
        """Publish a folder as one commit, tag it, and return the commit id."""
        files = release_files(folder)
        api = self._publishing(repo)
        with self._talking(repo), _quiet():
            refs = self._refs(api, repo, "model")
            _refuse_released(repo, tag, {ref.name: ref.target_commit for ref in refs.tags})
            head = next((ref.target_commit for ref in refs.branches if ref.name == "main"), None)
            stale = set(self.listing(repo, head).files if head else ()) & set(RELEASE_FILES) - set(files)
            commit = self._commit(api, repo, "model", files, stale, message, head)
        if tag is not None:
            try:
                with self._talking(repo):
                    api.create_tag(repo, tag=tag, revision=commit)
            except (WorldError, NotFoundError) as error:
                raise WorldError(f"{error}; commit {commit} is up but not tagged {tag}, push the same again") from error
        return commit

    def push_dataset(self, repo: str, files: Mapping[str, Path], message: str) -> str:
        """Make these the files of a repo of data, in one commit, and return its id."""
        api = self._publishing(repo)
        with self._talking(repo), _quiet():
            refs = self._refs(api, repo, "dataset")
            head = next((ref.target_commit for ref in refs.branches if ref.name == "main"), None)
            old = api.list_repo_files(repo, revision=head, repo_type="dataset") if head else []
            stale = set(old) - {*files, ".gitattributes"}
            return self._commit(api, repo, "dataset", files, stale, message, head)

    def _publishing(self, repo: str) -> HfApi:
        api = self._api(check_repo(repo))
        if api.token is False:
            raise InputError(f"{self.origin}: publishing needs a token; set {self._token_setting()}")
        return api

    @staticmethod
    def _refs(api: HfApi, repo: str, kind: RepoKind) -> GitRefs:
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return api.list_repo_refs(repo, repo_type=kind)
        except RepositoryNotFoundError:
            api.create_repo(repo, repo_type=kind)
            return api.list_repo_refs(repo, repo_type=kind)

    def _commit(  # noqa: PLR0913, PLR0917
        self,
        api: HfApi,
        repo: str,
        kind: RepoKind,
        files: Mapping[str, Path],
        stale: set[str],
        message: str,
        head: str | None,
    ) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with ExitStack() as stack:
            steps: list[Any] = [CommitOperationDelete(name) for name in sorted(stale)]
            for name, path in files.items():
                # A handle goes by LFS or inline; for a path the client insists on Xet, whatever the server speaks.
                source = path if self.endpoint == HUGGING_FACE else stack.enter_context(path.open("rb"))
                steps.append(CommitOperationAdd(name, source))
            return api.create_commit(repo, steps, commit_message=message, parent_commit=head, repo_type=kind).oid

    def listing(self, repo: str, revision: str) -> Listing:
        """List the files of a revision."""
        from huggingface_hub.errors import RevisionNotFoundError

        api = self._api(check_repo(repo))
        with self._talking(repo):
            try:
                info = api.model_info(repo, revision=check_revision(revision), files_metadata=True)
            except RevisionNotFoundError:
                known = ", ".join(["main", *self.tags(repo)])
                raise NotFoundError(f"{self.origin}: {repo} has no revision {revision!r}; it has {known}") from None
        files = {
            file.rfilename: FileInfo(file.lfs.size, sha256=file.lfs.sha256)
            if file.lfs
            else FileInfo(file.size or 0, git_oid=file.blob_id)
            for file in info.siblings or []
        }
        return Listing(info.sha or "", files)

    def pull(self, repo: str, revision: str) -> Pulled:
        """Bring a revision into the cache, verified; a commit that is there already needs no network."""
        offline = settings.offline()
        with _disk(self.cache.root):
            if offline or is_commit(revision):
                commit = self.cache.commit(repo, revision)
                if pulled := self.cache.get(repo, commit):
                    return pulled
                if offline:
                    raise NotFoundError(
                        f"{repo}@{revision} is not in the cache {self.cache.root}; unset CELLZOO_OFFLINE"
                    )
            listing = self.listing(repo, revision)

            def fetch(name: str, into: Path) -> Path:
                with self._talking(repo):
                    return Path(self._api(repo).hf_hub_download(repo, name, revision=listing.commit, local_dir=into))

            return self.cache.pull(repo, revision, listing, fetch)

    def tags(self, repo: str) -> dict[str, str]:
        """Return the commit of each tag, oldest release first."""
        api = self._api(check_repo(repo))
        with self._talking(repo):
            refs = api.list_repo_refs(repo)
        return {ref.name: ref.target_commit for ref in sorted(refs.tags, key=lambda ref: release_order(ref.name))}

    def models(self) -> list[str]:
        """Return the ids of all cellzoo models, sorted."""
        api = self._api("the list of models")
        with self._talking("the list of models"):
            return sorted(model.id for model in api.list_models(filter="cellzoo"))

    def _api(self, repo: str) -> HfApi:
        if settings.offline():
            raise WorldError(f"{self.origin}: {repo} needs the network; unset CELLZOO_OFFLINE")
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self._token(), library_name="cellzoo")

    def _token(self) -> str | Literal[False]:
        if self.endpoint == HUGGING_FACE:
            from huggingface_hub import get_token

            return get_token() or False
        for entry in os.environ.get("CELLZOO_TOKENS", "").split():
            origin, _, token = entry.partition("=")
            if origin.rstrip("/") == self.origin:
                return token or False
        return False

    def _token_setting(self) -> str:
        return "HF_TOKEN" if self.endpoint == HUGGING_FACE else f"CELLZOO_TOKENS={self.origin}=<token>"

    @contextmanager
    def _talking(self, repo: str) -> Iterator[None]:
        """Say what the client's exceptions mean to the user."""
        from huggingface_hub import errors

        try:
            yield
        except CellzooError:
            raise
        except errors.RepositoryNotFoundError as error:
            raise NotFoundError(
                f"{self.origin}: no model {repo}, or no access; look at `cellzoo models` or set {self._token_setting()}"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise NotFoundError(f"{self.origin}: {repo} has no such revision ({error.server_message})") from error
        except (OSError, errors.HTTPError, ValueError, KeyError, RuntimeError) as error:  # type: ignore[attr-defined]
            wrapped = isinstance(error, errors.LocalEntryNotFoundError | RuntimeError) and error.__cause__
            cause = wrapped or error
            if not isinstance(cause, errors.HfHubHTTPError):
                raise WorldError(
                    f"{self.origin}: no usable answer about {repo} ({type(cause).__name__}: {cause});"
                    " check the address and the network, or set CELLZOO_OFFLINE=1 to use what is in the cache"
                ) from error
            status, said = cause.response.status_code, cause.server_message or cause
            if cause.response.headers.get("X-Error-Code") == "IntegrityError":
                raise IntegrityError(f"{self.origin}: {said}") from error
            if status == 412:
                raise HeadMovedError(
                    f"{self.origin}: someone else committed to {repo}; look at it, then push again"
                ) from error
            remedy = f"set {self._token_setting()}" if status in {401, 403} else "try again later"
            raise WorldError(f"{self.origin}: {repo}: status {status}: {said}; {remedy}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the client says about genes.parquet, about handles, and about itself."""

    def keep(record: logging.LogRecord) -> bool:
        return "binary IO buffer is not supported by Xet" not in record.getMessage()

    logger = logging.getLogger("huggingface_hub._commit_api")
    logger.addFilter(keep)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
            warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
            yield
    finally:
        logger.removeFilter(keep)


def _cache(place: str, label: str) -> Cache:
    slug = re.sub(r"[^A-Za-z0-9.]+", "_", label).strip("._") + "-" + hashlib.sha256(place.encode()).hexdigest()[:8]
    return Cache(settings.home() / "models" / slug)


def _refuse_released(repo: str, tag: str | None, tags: dict[str, str]) -> None:
    if tag is not None and (commit := tags.get(check_tag(tag))):
        raise InputError(
            f"{repo}: {tag} is already released, as commit {commit}; releases are immutable, make a new one"
        )


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise (
            error if isinstance(error, WorldError) else WorldError(f"{folder}: {error}; free or mend the disk")
        ) from error
