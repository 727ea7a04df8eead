"""Writing is whole or absent; digests tell any two contents apart."""

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import save_file

from armorm import StorageError
from armorm.storage import (
    check_writable,
    digest_file,
    fingerprint,
    json_bytes,
    storage_errors,
    whole_file,
    whole_folder,
    write_bytes,
    write_json,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=8,
)


def test_a_file_is_written_with_its_folders(tmp_path):
    write_bytes(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)

    def write():
        with whole_file(path) as part:
            part.write_bytes(b"half of the n")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_reader_never_sees_a_part(tmp_path):
    path, sizes = tmp_path / "file", set()
    write_bytes(path, b"x" * 100_000)
    done = threading.Event()

    def read():
        while not done.is_set():
            sizes.add(len(path.read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(20):
        write_bytes(path, b"y" * (200_000 + n))
    done.set()
    reader.join()
    assert sizes <= {100_000, *range(200_000, 200_020)}


def test_a_killed_write_leaves_the_older_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import os, signal, sys, pathlib; from armorm.storage import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as part:\n"
        "    part.write_text('new'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"


def test_of_a_link_the_file_behind_it_is_replaced(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    # As root, a result written to /dev/null once replaced the device.
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_bytes(tmp_path / "pipe", b"through")
    reader.join()
    assert found == [b"through"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_not_replaced_by_a_file_nor_the_reverse(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(StorageError, match=r"folder: cannot be written: Is a directory$"):
        write_bytes(tmp_path / "folder", b"x")
    text = r"file: cannot be written: Not a directory$"
    with pytest.raises(StorageError, match=text), whole_folder(tmp_path / "file"):
        raise AssertionError("the block must not run")
    with pytest.raises(StorageError, match=r"cannot be written: (Not a directory|File exists)$"):
        write_bytes(tmp_path / "file" / "below", b"x")
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_replaces_the_older_one_whole(tmp_path):
    for name in ("first", "second"):
        with whole_folder(tmp_path / "folder") as part:
            (part / "deep").mkdir()
            (part / "deep" / name).write_text(name)
    assert [p.name for p in (tmp_path / "folder").rglob("*")] == ["deep", "second"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_fails_leaves_the_older_one(tmp_path):
    with whole_folder(tmp_path / "folder") as part:
        (part / "file").write_text("old")

    def write():
        with whole_folder(tmp_path / "folder") as part:
            (part / "file").write_text("new")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write()
    assert (tmp_path / "folder" / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_folder_whose_last_step_fails_is_put_back(tmp_path, monkeypatch):
    # The older folder was once moved away and deleted when the new one could not take its place.
    with whole_folder(tmp_path / "folder") as part:
        (part / "file").write_text("old")
    replace = Path.replace

    def failing(self, target):
        if self.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        text = r"folder: cannot be written: Input/output error$"
        with pytest.raises(StorageError, match=text), whole_folder(tmp_path / "folder") as part:
            (part / "file").write_text("new")
    assert (tmp_path / "folder" / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_what_to_do(number):
    text = "^out/file: the disk is full; free some space and run the same command again$"
    with pytest.raises(StorageError, match=text), storage_errors(Path("out/file")):
        raise OSError(number, "any text")


def test_a_full_disk_that_safetensors_reports_by_text_is_told_as_well():
    with pytest.raises(StorageError, match="the disk is full"), storage_errors(Path("x")):
        raise SafetensorError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("limit", [errno.EFBIG, errno.EDQUOT, errno.EIO])
def test_what_a_disk_says_through_safetensors_is_a_storage_error(limit):
    # A quota on a cluster once left a traceback.
    text = "the disk is full" if limit == errno.EDQUOT else os.strerror(limit)
    with pytest.raises(StorageError, match=f"^x: .*{text}"), storage_errors(Path("x")):
        raise SafetensorError(f"Error while serializing: I/O error: any text (os error {limit})")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO])
def test_a_disk_that_refuses_is_named_with_its_reason(number):
    text = f"^x: cannot be written: {os.strerror(number)}$"
    with pytest.raises(StorageError, match=text), storage_errors(Path("x")):
        raise OSError(number, "any text")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_and_folders_have_the_permissions_of_the_umask(tmp_path, umask):
    # Results were once readable by everybody, whatever the user had asked for.
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "file", b"x")
        with whole_folder(tmp_path / "folder") as part:
            (part / "inner").write_text("x")
            save_file({"x": torch.ones(1)}, part / "tensors")  # in 0.8 for the owner alone
        with whole_file(tmp_path / "one") as part:
            save_file({"x": torch.ones(1)}, part)
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*")}
    files = dict.fromkeys(("file", "inner", "tensors", "one"), 0o666 & ~umask)
    assert modes == {**files, "folder": 0o777 & ~umask}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("path", ["/proc/x", "/proc/deep/x"])
def test_a_place_where_nothing_can_be_made_is_a_storage_error(path):
    for write in (lambda p: write_bytes(p, b"x"), lambda p: whole_folder(p).__enter__()):
        with pytest.raises(StorageError, match=f"^{path}: cannot be written: No such file or"):
            write(Path(path))


def test_a_name_that_is_too_long_is_a_storage_error(tmp_path):
    for write in (lambda p: write_bytes(p, b"x"), check_writable):
        with pytest.raises(StorageError, match=r"x: cannot be written: File name too long$"):
            write(tmp_path / ("x" * 300))


def test_what_can_be_written_is_told_before_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("old")
    for name in ("file", "new", "deep/er/new"):
        check_writable(tmp_path / name)
    assert [p.name for p in tmp_path.rglob("*")] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    check_writable(Path(os.devnull))


def test_what_cannot_be_written_is_told_before(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(StorageError, match=r": cannot be written: Is a directory$"):
        check_writable(tmp_path)
    for name in ("file/x", "file/deep/x"):
        with pytest.raises(StorageError, match=rf"{name}: cannot be written: Not a directory$"):
            check_writable(tmp_path / name)
    if Path("/proc/self").exists():
        with pytest.raises(StorageError, match=r"^/proc/x: cannot be written: No such file or"):
            check_writable(Path("/proc/x"))


def test_errors_that_are_not_the_disks_pass_unchanged():
    with pytest.raises(FileNotFoundError), storage_errors(Path("x")):
        raise FileNotFoundError(errno.ENOENT, "a file that is read")
    with pytest.raises(ValueError, match="ours"), storage_errors(Path("x")):
        raise ValueError("ours")


@settings(max_examples=30)
@given(JSON)
def test_json_comes_back(content):
    assert json.loads(json_bytes(content)) == content


def test_json_by_hand(tmp_path):
    write_json(tmp_path / "x.json", {"b": "é", "a": [1]})
    assert (tmp_path / "x.json").read_text() == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_without_a_number_for_it_is_refused_and_nothing_is_written(tmp_path, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", [value])
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=20)
@given(st.binary(max_size=200))
def test_the_digest_of_a_file_is_its_sha256(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("digest") / "file"
    path.write_bytes(content)
    assert digest_file(path) == hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_file_of_several_chunks(tmp_path):
    content = os.urandom(2**20 + 17) * 2
    (tmp_path / "file").write_bytes(content)
    assert digest_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@settings(max_examples=30)
@given(st.dictionaries(st.text("abc", min_size=1), JSON, min_size=2), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(content, random):
    keys = list(content)
    random.shuffle(keys)
    assert fingerprint({key: content[key] for key in keys}) == fingerprint(content)


@settings(max_examples=30)
@given(JSON, JSON)
def test_fingerprints_of_different_values_differ(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (fingerprint(first) == fingerprint(second)) == same


def test_a_fingerprint_by_hand():
    text = '{"a":[1,"é"],"b":null}'
    wanted = hashlib.sha256(text.encode()).hexdigest()
    assert fingerprint({"b": None, "a": [1, "é"]}) == wanted
