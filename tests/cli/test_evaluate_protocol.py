"""`armorm evaluate --protocol`: what a person sees, gets as JSON and is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from armorm.evaluate import own_scorers
from armorm.evaluate.protocols import PROTOCOLS, read_result
from bundles import encoder_backbone, make_bundle, saved
from fakes import save_tiny_decoder

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


def test_table_says_whose_figures_and_what_is_covered(armorm, bundle, bench, here):
    done = armorm("evaluate", bundle, "--protocol", "rewardbench", "--data", bench, "--partial")
    assert done.code == 0, done.err
    assert "PARTIAL, of what is there alone: mean of the 4 sections, without prior" in done.out
    assert "official example counts" in done.out
    assert "Partial: 30 rows; 0 of 23 subsets whole; missing" in done.out
    lines = done.out.splitlines()
    assert lines[0].split()[-1] == "behind"
    assert all(name in lines[0] for name in ("overall", "95 % interval"))
    assert [line.split("  ")[0] for line in lines[2:5]] == ["A", "B", "C"]
    assert lines[2].split()[:3] == ["A", "tiny", "30"]
    assert ("longer wins" in lines[3], "shorter wins" in lines[4]) == (True, True)
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
    at = [names.index(name) for name in ("chat", "safety", "hard", "normal", "easy")]
    assert at == sorted(at)
    lines = done.out.splitlines()
    assert lines[at[1] + 1].startswith("  safety-refuse")
    # Longer (B) wins in the cells where the chosen response is the longer one, and only there.
    assert [lines[at[i]].split()[3] for i in (2, 4)] == ["0.0", "100.0"]
    assert "longer wins 6" in done.out


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
    assert other["scorer"] == "tiny (weights verbosity=-1)"
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
    longer = next(line for line in done.out.splitlines() if "longer wins" in line)
    assert "6.000" in longer  # it picks the best


def test_a_difference_beyond_noise_is_marked_and_figures_have_signs(armorm, bundle, rows, here):
    data = rows(
        "pairs.jsonl",
        [
            {"prompt": f"p{i}", "chosen": f"{i} " * 4, "rejected": f"{i}", "source": source}
            for source in ("a", "b")
            for i in range(40)
        ],
    )
    done = armorm("evaluate", bundle, "--protocol", "pairs", "--data", data)
    lines = [line.split() for line in done.out.splitlines()]
    assert next(line for line in lines if line[:3] == ["A", "-", "B"])[-2:] == ["behind", "*"]
    assert next(line for line in lines if line[:1] == ["a"])[3:5] == ["100.0", "+"]
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
        (["--data", "BENCH"], "--data and --partial go with --protocol"),
        (["--partial", "--pairs", "BENCH"], "--data and --partial go with --protocol"),
        (["--beside", "random"], "evaluate needs rows: give --pairs, --rated or both, or --proto"),
        (
            ["--rated", "BENCH", "--beside", "random"],
            "--rated: rated rows measure one bundle alone, without other models",
        ),
        (
            ["--pairs", "BENCH", "--beside", "randon"],
            "--beside: a model must be a folder or hub id, hf:ID[@REVISION], judge:MODEL@URL, "
            "longest, shortest or random; got 'randon'; did you mean 'random'?",
        ),
        (
            ["--pairs", "BENCH", "--variant", "weight:honesty=1"],
            "--variant: a variant must be gated, weights:NAME=VALUE,… or scale:NAME=VALUE,…; "
            "got 'weight:honesty=1'; did you mean 'weights'?",
        ),
        (
            ["--pairs", "BENCH", "--variant", "weights:honsty=1"],
            "--variant: `weights`: unknown objective 'honsty'; did you mean 'honesty'?",
        ),
        (
            ["--pairs", "BENCH", "--variant", "scale:honesty"],
            "--variant: must read name=number,…; got 'honesty'",
        ),
        (
            ["--pairs", "BENCH", "--variant", "gated"],
            "models must have distinct names; 'tiny' stands twice",
        ),
        (
            ["--pairs", "BENCH", "--judge-requests", "9"],
            "--judge-requests: needs a judge:MODEL@URL among the models; there is none",
        ),
        (
            ["--protocol", "best-of-n", "--data", "BENCH", "--judge", "pairwise"],
            "--judge: the protocol 'best-of-n' must have ratings in 'Best of n', which comparisons "
            "cannot decide; got 'pairwise'",
        ),
        (
            ["--pairs", "BENCH", "--beside", "longest", "--beside", "length"],
            "models must have distinct names; 'longer wins' stands twice",
        ),
        (
            ["--protocol", "pairs", "--data", "BENCH", "--beside", "hf:"],
            "--beside: ",
        ),
        (
            ["--protocol", "pairs", "--data", "BENCH", "--beside", "BUNDLE"],
            "bundle' is the same model as 'tiny'",
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


@pytest.mark.parametrize("option", ["--weights", "--scale", "--variant", "--backbone"])
def test_what_is_of_bundles_is_refused_of_other_models(armorm, bench, here, option):
    done = armorm("evaluate", "random", "--pairs", bench, option, "gated")
    assert (done.code, done.err) == (2, f"error: {option}: needs a bundle; 'random' is none\n")


@pytest.mark.parametrize("options", [[], ["--rated", "x"]])
def test_a_slip_in_the_first_name_is_said(armorm, here, options):
    done = armorm("evaluate", "randon", "--pairs", "x", *options)
    assert (done.code, done.out) == (2, "")
    assert "error: MODEL: a model must be a folder" in done.err
    assert "did you mean 'random'?" in done.err


def test_rated_rows_of_what_is_no_bundle_are_refused(armorm, bench, here):
    done = armorm("evaluate", "shortest", "--rated", bench)
    assert "error: --rated: rated rows measure one bundle alone" in done.err


@pytest.mark.parametrize(("name", "shown"), [("shortest", "shorter wins"), ("random", "random")])
def test_the_first_model_may_be_a_baseline(armorm, bench, here, name, shown):
    done = armorm("evaluate", name, "--pairs", bench, "--json")
    scorers = [one["scorer"] for one in json.loads(done.out)["scorers"]]
    assert scorers[0] == shown
    assert len(scorers) == len({*scorers}) == (2 if name == "shortest" else 3)


def test_a_classifier_of_hugging_face_may_stand_first(armorm, bench, here, tmp_path):
    folder = save_tiny_decoder(tmp_path / "rm", head="classifier")
    done = armorm("evaluate", f"hf:{folder}", "--pairs", bench, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["scorers"][0]["scorer"] == f"hf:{folder}"


def test_a_score_that_is_not_finite_names_model_and_row(armorm, bench, here, tmp_path):
    folder = save_tiny_decoder(tmp_path / "rm", head="classifier")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["score.weight"] = torch.full_like(tensors["score.weight"], torch.nan)
    save_file(tensors, file, metadata={"format": "pt"})
    done = armorm("evaluate", f"hf:{folder}", "--pairs", bench)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error: ") == 1
    said = f"{folder}: scores must be finite; 60 of 60 are not, the first of conversation '0'"
    assert said in done.err


def test_variants_stand_beside_the_bundle_and_texts_are_run_once(
    armorm, bundle, bench, here, monkeypatch
):
    seen = []
    original = own_scorers.compute_features

    def counted(backbone, conversations, **options):
        seen.append(len(conversations))
        return original(backbone, conversations, **options)

    monkeypatch.setattr(own_scorers, "compute_features", counted)
    call = ("evaluate", bundle, "--pairs", bench, "--json")
    forms = ("weights:verbosity=-1", "scale:honesty=2")
    done = armorm(*call, *(word for form in forms for word in ("--variant", form)))
    names = [one["scorer"] for one in json.loads(done.out)["scorers"]]
    assert names[:3] == ["tiny", "tiny (weights verbosity=-1)", "tiny (scale honesty=2)"]
    assert len(seen) == 1
    alone = armorm(*call, "--weights", "verbosity=-1", "--variant", "gated", "--cache", "other")
    first, second = json.loads(alone.out)["scorers"][:2]
    assert (first["scorer"], second["scorer"]) == (names[1], "tiny")
    together = json.loads(done.out)["scorers"]
    assert first["overall"]["result"] == together[1]["overall"]["result"]
    assert second["overall"]["result"] == together[0]["overall"]["result"]


def test_bundles_of_one_name_are_named_as_asked_for(armorm, bundle, bench, here, backbone_folder):
    backbone = encoder_backbone(backbone_folder)
    other = saved(here / "other", make_bundle(backbone.facts(), seed=5))
    done = armorm("evaluate", bundle, "--pairs", bench, "--beside", "other", "--json")
    assert other.is_dir()
    assert [one["scorer"] for one in json.loads(done.out)["scorers"]][:2] == ["tiny", "other"]


def test_pairs_side_by_side_are_written_as_json_and_markdown(armorm, bundle, bench, here):
    call = ("evaluate", bundle, "--pairs", bench, "--beside", "random", "-o", here / "out")
    done = armorm(*call)
    assert done.code == 0, done.err
    result = read_result(here / "out")
    assert result.protocol == "pairs"
    assert {(one.first, one.second) for one in result.differences} == {
        ("tiny", "random"),
        ("tiny", "longer wins"),
        ("tiny", "shorter wins"),
        ("random", "longer wins"),
        ("random", "shorter wins"),
    }
    text = (here / "out" / "protocol.md").read_text()
    assert "| B   | random " in text
    assert "\n| A - B | " in text


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(armorm, bundle, rows, here, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    data = rows("bench.jsonl", [row | {"source": f"source {row['id'] % 4}"} for row in ROWS])
    models = ("random", "longest", "shortest")
    done = armorm(
        *("evaluate", bundle, "--protocol", "pairs", "--data", data),
        *("--variant", "weights:helpfulness=1,honesty=1,is_safe=1"),
        *(word for name in models for word in ("--beside", name)),
    )
    assert done.code == 0, done.err
    assert max(len(line) for line in done.out.splitlines()) <= width
    assert "…" not in done.out or "B is tiny (weights helpfulness=1, honesty=1" in done.out
    assert ("B is tiny" in done.out) == (width == 80)
    # Every figure of every model, in one block or in several.
    assert sum(line.split()[:1] == ["source"] for line in done.out.splitlines()) in (4, 8)


def test_few_prompts_have_values_without_intervals_and_a_note(armorm, bundle, rows, here):
    data = rows("few.jsonl", ROWS[:19])
    done = armorm("evaluate", bundle, "--pairs", data, "--beside", "random")
    assert "note: 19 prompts are too few for intervals: 20 are needed" in done.err
    assert " to " not in done.out.split("unknown")[0]
    assert "unknown: fewer than 20 prompts, too few for an interval." in done.out


def test_a_folder_with_wrong_counts_is_refused_and_its_part_is_said(armorm, bundle, rows, here):
    subsets = [s.name for _, s in PROTOCOLS["judgebench"].subsets()]
    content = [
        {
            "pair_id": f"{name}-{i}",
            "source": name,
            "question": f"{name} {i}?",
            "response_A": f"a {i}",
            "response_B": f"b {i} b",
            "label": "A>B",
        }
        for name in subsets[:3]
        for i in range(25)
    ]
    folder = rows("gpt.jsonl", content).parent
    call = ("evaluate", bundle, "--protocol", "judgebench", "--data", folder / "gpt.jsonl")
    done = armorm(*call)
    assert (done.code, done.out) == (2, "")
    for said in (
        "gpt.jsonl: the protocol 'judgebench' must have its 4 subsets with 350 rows; ",
        "missing 'livecodebench'; 'mmlu-pro' has 25 of 154 rows",
        "`partial` (--partial) gives figures of what is there",
    ):
        assert said in done.err
    done = armorm(*call, "--partial")
    assert "Partial: 75 rows; 0 of 4 subsets whole; missing 'livecodebench'" in " ".join(
        done.out.split()
    )


def test_what_a_scorer_has_to_say_is_printed_and_stored(armorm, bench, here, tmp_path):
    folder = save_tiny_decoder(tmp_path / "rm", head="classifier")
    limit = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    data = bench.with_name("long.jsonl")
    long = {**ROWS[0], "prompt": "What is long?", "chosen": "word " * (limit + 10)}
    data.write_text(bench.read_text() + json.dumps(long) + "\n")
    done = armorm("evaluate", f"hf:{folder}", "--pairs", data, "-o", "out")
    said = f"hf:{folder}: 1 conversations were longer than {limit:,} tokens and were cut from the"
    assert f"note: {said} left" in done.err
    assert any(note.startswith(said) for note in read_result(here / "out").notes)
    assert said in (here / "out" / "protocol.md").read_text()


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
