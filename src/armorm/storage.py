"""Writing that is whole or absent, and digests; it does not know what the bytes mean."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

from armorm.errors import StorageError

_CHUNK = 1 << 20

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EFBIG,
)


@contextlib.contextmanager
def storage_errors(path: Path) -> Generator[None]:
    """Turn a failing disk into a located `StorageError`.

    Args:
        path: What is being written; named in the error.

    Yields:
        Nothing.

    Raises:
        StorageError: the disk is full, read-only, over quota or fails; the path is a
            folder where a file belongs, or the reverse.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (*_FULL, *_REFUSED):
            raise _refusal(path, error) from error
        raise
    except Exception as error:  # safetensors reports I/O errors as its own type, by text
        if "No space left" in str(error):
            raise _full(path) from error
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found and int(found[1]) in (*_FULL, *_REFUSED):
            raise _refusal(path, OSError(int(found[1]), "")) from error
        raise


@contextlib.contextmanager
def _only_writing(path: Path) -> Generator[None]:
    """As `storage_errors` where nothing is read: a name that cannot be made is its failure too."""
    try:
        yield
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> StorageError:
    """The error of a disk that does not take a file."""
    if error.errno in _FULL:
        return _full(path)
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(f"{path}: cannot be written: {reason}")


def _full(path: Path) -> StorageError:
    """The error of a full disk."""
    return StorageError(f"{path}: the disk is full; free some space and run the same command again")


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Give a temporary path that becomes `path` when the block ends without error.

    The temporary file lies in the same folder, is synced and then renamed, so that a
    reader, or a run after a kill, sees the old file or the new one, never a part.

    Args:
        path: The file to write; its folder is made when absent. Of a link, the file that
            it leads to is replaced.

    Yields:
        The path to write to.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    with _only_writing(path):
        target = _file_target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _make_part(target, target.parent)
    with storage_errors(path):
        path, mode = target, part.stat().st_mode
        try:
            yield part
            part.chmod(mode)  # safetensors leaves its files to their owner alone
            _sync(part)
            part.replace(path)
            _sync(path.parent)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """Give a temporary folder that replaces `path` when the block ends without error.

    A run that fails leaves the older folder as it was.

    Args:
        path: The folder to write; an older one of that name is replaced.

    Yields:
        The folder to write into.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    with _only_writing(path):
        target = path.resolve()
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _part_name(target, target.parent)
        part.mkdir()
    with storage_errors(path):
        path, old = target, part.with_suffix(".old")
        try:
            yield part
            for file in part.rglob("*"):
                if file.is_file():  # safetensors leaves its files to their owner alone
                    file.chmod(part.stat().st_mode & 0o666)
                _sync(file)
            _sync(part)
            if path.exists():
                path.replace(old)
            part.replace(path)
            _sync(path.parent)
        finally:
            if old.exists() and not path.exists():
                old.replace(path)
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole; into a device or a pipe, which cannot be replaced, write directly.

    Args:
        path: The file.
        content: Its bytes.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    if _is_device(path):
        with storage_errors(path):
            path.write_bytes(content)
        return
    with whole_file(path) as part:
        part.write_bytes(content)


def check_writable(path: Path) -> None:
    """Raise what writing a file would raise, before the work that it is to hold.

    An empty file is made beside it, or in the nearest folder above it that exists, and
    removed; nothing else is made or changed. A device is taken as it is.

    Args:
        path: The file to be written later.

    Raises:
        StorageError: the disk is full or cannot be written; the path is a folder or lies
            below a file.
    """
    if _is_device(path):
        return
    with _only_writing(path):
        target = _file_target(path)
        folder = target.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        _make_part(target, folder).unlink()


def _file_target(path: Path) -> Path:
    """The file that a path leads to; a folder is refused."""
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return target


def _is_device(path: Path) -> bool:
    """Say whether a path leads to a device or a pipe, which cannot be replaced."""
    with _only_writing(path):
        return path.exists() and not (path.is_file() or path.is_dir())


def _make_part(path: Path, folder: Path) -> Path:
    """Make the temporary file of a path, with the permissions that the umask gives."""
    part = _part_name(path, folder)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return part


def _part_name(path: Path, folder: Path) -> Path:
    """Return a name that nothing has yet."""
    return folder / f".{path.name}.{secrets.token_hex(8)}.part"


def try_lock(path: Path, kind: int, held: contextlib.ExitStack) -> bool:
    """Lock a file for as long as the stack holds; say whether nobody else has it.

    Args:
        path: The file; made when absent.
        kind: `fcntl.LOCK_SH` or `fcntl.LOCK_EX`.
        held: Keeps the lock, which goes with the process at the latest.

    Returns:
        False where another process holds a lock that excludes this one.

    Raises:
        StorageError: the file cannot be made or opened.
    """
    with storage_errors(path):
        lock = held.enter_context(path.open("a"))
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_json(path: Path, content: Any) -> None:
    """Write JSON with two spaces of indent and a final newline; NaN is refused.

    Args:
        path: The file.
        content: Anything `json` can write.

    Raises:
        StorageError: the disk is full or cannot be written.
        ValueError: a number is NaN or infinite.
    """
    write_bytes(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    r"""Return the bytes that `write_json` writes: one value has one sequence of bytes.

    Args:
        content: Anything `json` can write; keys keep their order.

    Returns:
        UTF-8, with a final newline.

    Raises:
        ValueError: a number is NaN or infinite.

    Example:
        >>> json_bytes({"score": 0.5})
        b'{\n  "score": 0.5\n}\n'
    """
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Args:
        path: The file.

    Returns:
        The digest in lower case.
    """
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def fingerprint(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of a value, to name what a result depends on.

    Args:
        content: Anything `json` can write; the order of keys does not matter.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _sync(path: Path) -> None:
    """Ask the system to put a file or folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
