"""`armorm evaluate --protocol`: what a person sees, gets as JSON and is refused."""

import json

import pytest

ROWS = [
    {
        "id": i,
        "prompt": f"What is {i} plus {i}?",
        "chosen": f"It is {2 * i}.",
        "rejected": "I do not know that.",
        "subset": "hep-go" if i % 2 else "math-prm",
    }
    for i in range(30)
]


@pytest.fixture
def bench(rows):
    return rows("bench.jsonl", ROWS)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to run in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_table_says_whose_figures_and_what_is_covered(armorm, bundle, bench, here):
    done = armorm("evaluate", bundle, "--protocol", "rewardbench", "--data", bench, "--partial")
    assert done.code == 0, done.err
    assert "PARTIAL, of what is there alone: mean of the 4 sections, without prior" in done.out
    assert "official example counts" in done.out
    assert "Partial: 30 rows; 0 of 23 subsets whole; missing" in done.out
    head = done.out.splitlines()[0]
    assert [name in head for name in ("tiny", "95 % interval", "longer wins", "shorter wins")] == [
        True
    ] * 4
    overall = next(line for line in done.out.splitlines() if line.startswith("overall"))
    assert overall.split()[1] == "30"
    (folder,) = (here / "runs" / "scores").iterdir()
    assert len(list(folder.iterdir())) == 1


def test_sections_stand_with_their_subsets(armorm, bundle, rows, here):
    domains = ("chat", "safety-refuse", "safety-response")
    data = rows(
        "total_dataset.jsonl",
        [
            {
                "prompt": f"{domain} {i}",
                "chosen": ["a", "b b", "c c c"],
                "rejected": ["d", "e e", "f f f"],
                "domain": domain,
            }
            for domain in domains
            for i in range(2)
        ],
    )
    done = armorm("evaluate", bundle, "--protocol", "rm-bench", "--data", data, "--partial")
    names = [line.split("  ")[0] for line in done.out.splitlines()]
    at = [names.index(name) for name in ("overall", "chat", "safety", "hard", "normal", "easy")]
    assert at == sorted(at)
    lines = done.out.splitlines()
    assert lines[at[2] + 1].startswith("  safety-refuse")
    # Longer wins in the cells where the chosen response is the longer one, and only there.
    assert [lines[at[i]].split()[3] for i in (3, 5)] == ["0.0", "100.0"]
    assert "Rows with exact ties: tiny" in done.out or "longer wins 6" in done.out


def test_scores_are_kept_where_asked_and_used_again(armorm, bundle, bench, here):
    call = ("evaluate", bundle, "--protocol", "pairs", "--data", bench, "--cache", here / "kept")
    first = armorm(*call)
    files = {p: p.stat().st_mtime_ns for p in (here / "kept").rglob("*.json")}
    assert files
    assert not (here / "runs").exists()
    second = armorm(*call)
    assert second.out == first.out
    assert {p: p.stat().st_mtime_ns for p in (here / "kept").rglob("*.json")} == files


def test_json_and_file_hold_the_same(armorm, bundle, bench, here):
    done = armorm(
        "evaluate", bundle, "--protocol", "pairs", "--data", bench, "--json", "-o", here / "out"
    )
    printed = json.loads(done.out)
    assert printed == json.loads((here / "out" / "protocol.json").read_text())
    assert printed["protocol"] == "pairs"
    assert printed["n_rows"] == 30
    assert [one["scorer"] for one in printed["scorers"]] == ["tiny", "longer wins", "shorter wins"]


def test_steering_has_its_own_name_and_scores(armorm, bundle, bench, here):
    call = ("evaluate", bundle, "--protocol", "pairs", "--data", bench, "--json")
    plain, steered = armorm(*call), armorm(*call, "--weights", "verbosity=-1")
    first, other = (json.loads(done.out)["scorers"][0] for done in (plain, steered))
    assert other["scorer"] == "tiny (verbosity=-1)"
    assert first["identity"] != other["identity"]


def test_another_model_stands_beside_with_its_difference(armorm, bundle, bench, here):
    done = armorm(
        "evaluate", bundle, "--protocol", "pairs", "--data", bench, "--beside", "random", "--json"
    )
    printed = json.loads(done.out)["scorers"]
    assert [one["scorer"] for one in printed] == ["tiny", "random", "longer wins", "shorter wins"]
    own, other = printed[0]["overall"]["result"]["value"], printed[1]["overall"]
    assert other["difference"]["value"] == pytest.approx(other["result"]["value"] - own)


def test_references_are_shown_in_their_unit(armorm, bundle, rows, here):
    data = rows(
        "best.jsonl",
        [
            {"prompt": f"p{i}", "responses": ["a", "bb", "ccc"], "references": [1, 2, 6]}
            for i in range(25)
        ],
    )
    done = armorm("evaluate", bundle, "--protocol", "best-of-n", "--data", data)
    assert "Best of n, in the unit of the references: mean reference value of the pick" in done.out
    oracle = next(line for line in done.out.splitlines() if line.startswith("oracle"))
    assert "6.000" in oracle
    overall = next(line for line in done.out.splitlines() if line.startswith("overall"))
    assert "6.000" in overall.split("  ", 4)[-1]  # longer wins picks the best


def test_a_difference_beyond_chance_has_a_sign(armorm, bundle, rows, here):
    data = rows(
        "pairs.jsonl",
        [{"prompt": f"p{i}", "chosen": f"{i} " * 4, "rejected": f"{i}"} for i in range(40)],
    )
    done = armorm("evaluate", bundle, "--protocol", "pairs", "--data", data)
    assert "100.0 +" in done.out
    assert "+ and -: above or below tiny by more than chance explains" in done.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--protocol", "rewardbnch"], "--protocol: unknown protocol 'rewardbnch'; did you mean"),
        (
            ["--protocol", "rewardbench", "--data", "BENCH"],
            "bench.jsonl: the protocol 'rewardbench' must have its 23 subsets with 2,985 rows; "
            "missing 'alpacaeval-easy'",
        ),
        (
            ["--protocol", "rm-bench", "--data", "BENCH"],
            "bench.jsonl:1: the protocol 'rm-bench' must have the columns 'prompt', 'chosen', "
            "'rejected', 'domain'; missing 'domain'; found 'id'",
        ),
        (["--protocol", "pairs"], "`data` (--data) must name a file, a folder or a hub id"),
        (["--protocol", "pairs", "--data", "no.jsonl"], "no.jsonl: no such file or folder"),
        (["--protocol", "pairs", "--pairs", "BENCH"], "give --data, not --pairs or --rated"),
        (["--data", "BENCH"], "--data, --beside and --partial go with --protocol"),
        (["--partial", "--pairs", "BENCH"], "--data, --beside and --partial go with --protocol"),
        (
            ["--protocol", "pairs", "--data", "BENCH", "--beside", "hf:"],
            "--beside: ",
        ),
        (
            ["--protocol", "pairs", "--data", "BENCH", "--beside", "BUNDLE"],
            "--beside: models must have distinct names; 'tiny' stands twice",
        ),
        ([], "evaluate needs rows: give --pairs, --rated or both, or --protocol"),
    ],
)
def test_refusals_are_one_line(armorm, bundle, bench, here, options, said):
    done = armorm(
        "evaluate", bundle, *({"BENCH": bench, "BUNDLE": bundle}.get(o, o) for o in options)
    )
    assert done.code == 2
    assert said in done.err
    assert done.err.count("error: ") == 1
    assert done.out == ""


def test_an_output_that_cannot_be_written_is_said_before_scoring(armorm, bundle, bench, here):
    (here / "file").write_text("")
    done = armorm(
        "evaluate", bundle, "--protocol", "pairs", "--data", bench, "-o", here / "file" / "out"
    )
    assert done.code == 2
    assert "cannot be written" in done.err
    assert not (here / "runs").exists()


def test_a_damaged_cache_is_named(armorm, bundle, bench, here):
    call = ("evaluate", bundle, "--protocol", "pairs", "--data", bench)
    armorm(*call)
    (file,) = (here / "runs" / "scores").rglob("*.json")
    file.write_bytes(file.read_bytes()[:-9])
    done = armorm(*call)
    assert done.code == 2
    assert f"{file.name}: the digest of the file must be its name" in done.err
