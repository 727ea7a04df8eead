"""An export uploaded to a model hub; only where a person asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armorm.errors import StorageError
from armorm.features.checkpoint import first_line


def check_repository(name: str) -> None:
    """Refuse a name that no repository can have, before the work for it.

    Args:
        name: `owner/name`.

    Raises:
        ValueError: it is not of that form.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    owner, _, rest = name.partition("/")
    try:
        validate_repo_id(name)
    except HFValidationError:
        rest = ""
    if not (owner and rest):
        raise ValueError(f"a repository must be named owner/name; got {name!r}")


def push_export(
    folder: str | Path, name: str, *, private: bool = False, endpoint: str | None = None
) -> str:
    """Upload a folder to a repository of a model hub, which is made where it is not there.

    The token is the one that `hf auth login` or `HF_TOKEN` has left; it is never an argument.

    Args:
        folder: An export that was written.
        name: `owner/name`.
        private: Whether a repository that is made is private; an older one stays as it is.
        endpoint: Address of the hub; None: the one that huggingface_hub takes.

    Returns:
        Address of the commit.

    Raises:
        StorageError: the hub cannot be reached or refuses; the folder is as it was.
        ValueError: `name` is not owner/name.
    """
    from huggingface_hub import HfApi

    check_repository(name)
    api: Any = HfApi(endpoint=endpoint, library_name="armorm")
    try:
        api.create_repo(name, private=private, exist_ok=True, repo_type="model")
        commit = api.upload_folder(
            repo_id=name,
            folder_path=Path(folder),
            repo_type="model",
            commit_message="Upload an export of armorm",
        )
    except Exception as error:  # of the hub, of the network, of offline mode
        raise StorageError(
            f"{name}: the hub did not take the export, which is in {folder}: {first_line(error)}"
        ) from error
    return str(commit.commit_url)
