"""Files on the Hugging Face Hub."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from mher_pl.errors import UserError
from mher_pl.version import __version__

HUB = "hf://"
POLICY = "policy.safetensors"  # the file that is meant where none is named
OWN = "user/repo where you may write, after `hf auth login` or with the variable HF_TOKEN"


def download(uri: str) -> Path:
    """Return the file in the hub's cache that `hf://user/repo[@revision][/file]` names, fetched where it is new.

    Raises:
        UserError: it cannot be had, or the package `huggingface_hub` is missing.
    """
    with _hub_errors("path", uri, "hf://user/repo or hf://user/repo/file of a repository that can be reached") as hub:
        place = hub.parse_hf_uri(uri)
        return Path(_client(hub).hf_hub_download(place.id, place.path_in_repo or POLICY, revision=place.revision))


def make_repository(repo_id: str, private: bool) -> str:
    """Make a model repository where there is none, for its owner alone if `private`, and return its address.

    Raises:
        UserError: that is not possible, or the package `huggingface_hub` is missing.
    """
    with _hub_errors("REPO", repo_id, OWN) as hub:
        return str(_client(hub).create_repo(repo_id, private=private or None, exist_ok=True))


def upload(files: Mapping[str, Path | bytes], repo_id: str, message: str) -> None:
    """Put files into a model repository as one commit.

    Raises:
        UserError: that is not possible, or the package `huggingface_hub` is missing.
    """
    with _hub_errors("REPO", repo_id, OWN) as hub:
        operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()]
        _client(hub).create_commit(repo_id, operations, commit_message=message)


def _client(hub: Any) -> Any:
    return hub.HfApi(library_name="mher_pl", library_version=__version__)


@contextmanager
def _hub_errors(setting: str, value: str, allowed: str) -> Iterator[Any]:
    """Hand out the package `huggingface_hub`, and say in a line what goes wrong with it."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise UserError(
            f"{setting} is {value!r}, which needs huggingface_hub; allowed: after pip install 'mher_pl[hub]'"
        ) from error
    try:
        yield huggingface_hub
    except LocalEntryNotFoundError as error:
        reason = "the hub cannot be reached, and the file was not fetched before"
        raise UserError(f"{setting} is {value!r} ({reason}); allowed: {allowed}") from error
    except (HTTPError, OSError, ValueError) as error:  # of the network, of the server, and of names
        lines = [line for line in str(error).splitlines() if line] or [type(error).__name__]
        reason = shorten(lines[min(1, len(lines) - 1)] if isinstance(error, HTTPError) else lines[0], 120)
        raise UserError(f"{setting} is {value!r} ({reason}); allowed: {allowed}") from error
