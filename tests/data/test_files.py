import os

import pytest

from armorm.data.files import files_of
from armorm.data.source import DataSource
from armorm.errors import DataError


def names(path):
    return [file.name for file in files_of(DataSource(str(path)))]


@pytest.mark.parametrize(
    ("name", "format_", "stem"),
    [
        ("a.jsonl", "jsonl", "a"),
        ("a.ndjson.gz", "jsonl", "a"),
        ("a.b.JSON", "json", "a.b"),
        ("a.csv.gz", "csv", "a"),
        ("a.tsv", "tsv", "a"),
        ("a.parquet", "parquet", "a"),
    ],
)
def test_the_ending_tells_the_format(tmp_path, name, format_, stem):
    (tmp_path / name).write_text("x")
    (file,) = files_of(DataSource(str(tmp_path / name)))
    assert (file.format, file.stem, file.zipped) == (format_, stem, name.endswith(".gz"))


def test_a_folder_is_read_sorted_with_its_subfolders_and_without_hidden_files(tmp_path):
    for name in ("b.jsonl", "a.csv", "sub/c.json", ".hidden.jsonl", ".git/d.jsonl", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert names(tmp_path) == [str(tmp_path / n) for n in ("a.csv", "b.jsonl", "sub/c.json")]


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.csv.part", "b.parquet.gz"])
def test_a_folder_does_not_silently_skip_data_it_cannot_read(tmp_path, name):
    (tmp_path / "a.jsonl").write_text("x")
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"the file must end in \.jsonl, .*got '\."):
        names(tmp_path)


def test_a_folder_without_data_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(DataError, match=r"the folder must hold a data file \(.*none found"):
        names(tmp_path)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: no such file or folder"):
        names(tmp_path / "none.jsonl")
    # The home folder of nobody once left a traceback.
    with pytest.raises(DataError, match=r"^~nobody\.here/a\.jsonl: cannot be read: "):
        names("~nobody.here/a.jsonl")


@pytest.mark.parametrize(
    ("name", "found"), [("a.xlsx", ".xlsx"), ("a.txt.gz", ".txt.gz"), ("a", "")]
)
def test_an_unknown_ending_is_refused(tmp_path, name, found):
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=rf"must end in .* \(or \.gz of them\); got '{found}'"):
        names(tmp_path / name)


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl: not a regular file"):
        names(tmp_path / "a.jsonl")


def test_a_path_the_system_refuses_is_located():
    with pytest.raises(DataError, match=r"aaa\.jsonl: cannot be read: File name too long"):
        names("a" * 5000 + ".jsonl")


def test_the_shipped_corpus_is_found_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (file,) = files_of(DataSource("quickstart:rated.jsonl"))
    assert (file.name, file.stem) == ("quickstart:rated.jsonl", "rated")


def test_an_unknown_part_of_the_corpus_names_the_nearest():
    text = "quickstart:rates.jsonl: no such part of the shipped corpus; did you mean 'rated.jsonl'"
    with pytest.raises(DataError, match=text):
        names("quickstart:rates.jsonl")
