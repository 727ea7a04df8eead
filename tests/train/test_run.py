"""From a recipe to a run folder: what is kept, what is done again, what is refused."""

import errno
import fcntl
import json
import shutil
from pathlib import Path

import pytest
import torch

import armorm.train.features as features_module
import armorm.train.run as run_module
from armorm.errors import BundleError, DataError, MissingDependency, RecipeError, StorageError
from armorm.evaluate.report import read_report
from armorm.model.bundle import load_bundle
from armorm.train.run import train

STEPS = ("all", "held-out-0", "held-out-1", "held-out-2")
STAGES = ("ridge", "debias", "gating", "gating-without-debias", "baselines")


def stages(*names):
    return sorted(f"{name}/{step}" for name in names for step in STEPS)


def refuse(*args, **kwargs):
    raise AssertionError("the backbone was loaded")


def test_first_run_fits_every_stage_and_leaves_what_a_person_takes_away(trained):
    folder = trained.folder / "run"
    assert sorted(trained.run.fitted) == stages(*STAGES)
    assert trained.run.reused == ()
    assert "fitted 20 stages, 0 were up to date, in " in trained.run.work
    left = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert left >= {
        "bundle/bundle.json",
        "bundle/heads.safetensors",
        "bundle/README.md",
        "report.json",
        "report.html",
        "report.md",
        "recipe.yaml",
        "dropped-rows.json",
        "plots/objectives.png",
        "run.json",
    }
    assert not [name for name in left if name.endswith((".part", ".old"))]
    assert json.loads((folder / "dropped-rows.json").read_text()) == {}
    report = read_report(folder)
    assert report == trained.run.report
    assert (report.data.rated, report.data.pairs, report.data.prompts) == (60, 30, 60)
    assert [row.n for row in report.objectives] == [60, 60, 60]
    assert all(row.n == 30 for row in report.preferences)
    bundle = load_bundle(folder / "bundle")
    assert bundle.objectives == ("good", "kind", "verbosity")
    assert bundle.nuisances == (2,)


def test_second_run_does_nothing(copied, monkeypatch, content):
    monkeypatch.setattr(features_module, "load_backbone", refuse)
    before = content(copied.folder / "run")
    again = copied.train()
    assert (again.fitted, again.reused) == ((), ())
    assert again.work == "everything is up to date; nothing was run"
    assert again.report == read_report(copied.folder / "run")
    assert content(copied.folder / "run") == before


def test_run_in_another_folder_leaves_the_same_bundle_and_features(project, trained, content):
    project.train(folder="elsewhere/run")
    here, there = project.folder / "elsewhere/run", trained.folder / "run"
    for part in ("bundle", "features", "stages"):
        assert content(here / part) == content(there / part)
        assert len(content(here / part)) >= 4


@pytest.mark.slow
def test_another_seed_is_another_bundle(copied, trained, content):
    run = copied.train("seed=1")
    assert sorted(run.fitted) == stages(*STAGES)
    assert content(copied.folder / "run/features") == content(trained.folder / "run/features")
    for name in ("heads.safetensors", "bundle.json"):
        ours, theirs = (p.folder / "run/bundle" / name for p in (copied, trained))
        assert ours.read_bytes() != theirs.read_bytes()


@pytest.mark.parametrize(
    ("override", "fitted"),
    [
        ("gating.temperature=5", ("gating", "gating-without-debias")),
        ("debias.nuisances=[]", ("debias", "gating", "baselines")),
        ("evaluation.resamples=150", ()),
    ],
)
def test_changed_setting_refits_what_depends_on_it(copied, monkeypatch, override, fitted):
    monkeypatch.setattr(features_module, "load_backbone", refuse)
    run = copied.train(override)
    assert sorted(run.fitted) == stages(*fitted)
    assert sorted(run.reused) == stages(*(s for s in STAGES if s not in fitted))


def test_changed_pair_leaves_the_ridge_head_alone(copied):
    copied.pairs[3]["chosen"] += " green"
    run = copied.train("debias.reference=rated")
    # The reference rows have changed with the setting, so debias is fitted once more.
    assert sorted(run.reused) == stages("ridge")
    copied.pairs[3]["chosen"] += " red"
    run = copied.train("debias.reference=rated")
    assert sorted(run.reused) == stages("ridge", "debias")


@pytest.mark.slow
def test_changed_rating_refits_everything_without_the_backbone(copied, monkeypatch):
    monkeypatch.setattr(features_module, "load_backbone", refuse)
    copied.rated[0]["ratings"]["good"] = 4 - copied.rated[0]["ratings"]["good"]
    assert sorted(copied.train().fitted) == stages(*STAGES)


def test_damaged_stage_is_fitted_again_and_the_bundle_is_the_same(copied, trained, content):
    folder = copied.folder / "run"
    path = folder / "stages/gating/all.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    (folder / "run.json").unlink()
    run = copied.train()
    assert run.fitted == ("gating/all",)
    assert content(folder / "bundle") == content(trained.folder / "run/bundle")
    assert content(folder / "stages") == content(trained.folder / "run/stages")


@pytest.mark.parametrize(
    "damage",
    [
        "bundle/heads.safetensors",
        "bundle/README.md",
        "report.json",
        "plots/debias.png",
    ],
)
def test_damaged_or_lost_result_is_written_again(copied, trained, damage, content):
    folder = copied.folder / "run"
    if damage.endswith("md"):
        (folder / damage).unlink()
    else:
        (folder / damage).write_bytes(b"damaged")
    run = copied.train()
    assert run.fitted == ()
    assert sorted(run.reused) == stages(*STAGES)
    assert content(folder / "bundle") == content(trained.folder / "run/bundle")
    assert (folder / damage).read_bytes() != b"damaged"


def test_what_a_kill_leaves_is_cleared(copied):
    folder = copied.folder / "run"
    left = [folder / ".report.json.x.part", folder / "stages/ridge/.all.safetensors.x.part"]
    left += [folder / "plots/.debias.png.x.part", folder / ".dropped-rows.json.x.part"]
    for path in left:
        path.write_text("half")
    for name in (".bundle.x.part", ".bundle.x.old"):
        (folder / name).mkdir()
        (folder / name / "heads.safetensors").write_text("half")
        left.append(folder / name)
    mine = [".notes", ".a.part", ".b.old", "plots/.mine.png.part", "plots/mine.png", "mine.md"]
    for name in mine:
        (folder / name).write_text("mine")
    shutil.rmtree(folder / "stages/baselines")
    (folder / "run.json").unlink()
    copied.train()
    assert not [path for path in left if path.exists()]
    assert {(folder / name).read_text() for name in mine} == {"mine"}
    done = json.loads((folder / "run.json").read_text())
    assert not [name for name in done["files"] if "mine" in name]


def test_two_runs_never_share_a_folder(copied, content):
    before = content(copied.folder / "run")
    with (copied.folder / "run/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match=r"run: another run is using this folder"):
            copied.train()
    assert content(copied.folder / "run") == before


def test_folder_that_is_a_file_is_refused(project):
    (project.folder / "run").write_text("a file")
    with pytest.raises(StorageError, match=r"run: cannot be written: Not a directory"):
        project.train()


@pytest.mark.parametrize("own", ["stages", "run.json", ".lock"])
def test_only_a_folder_of_a_run_is_written_into(project, content, monkeypatch, own):
    folder = project.folder / "run"
    for name in (".a.part", "plots/mine.txt", "report.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    before = content(folder)
    text = r"run: a run folder must be new, empty or of an earlier run; it holds '.a.part'$"
    with pytest.raises(StorageError, match=text):
        project.train()
    assert content(folder) == before
    (folder / own).mkdir() if own == "stages" else (folder / own).touch()
    before = content(folder)
    monkeypatch.setattr(run_module._Training, "read", far)
    with pytest.raises(DataError, match="so far it came"):
        project.train()
    assert content(folder) == before


def far(self):
    raise DataError("so far it came")


def test_empty_folder_may_become_a_run(project, monkeypatch):
    (project.folder / "run").mkdir()
    monkeypatch.setattr(run_module._Training, "read", far)
    with pytest.raises(DataError, match="so far it came"):
        project.train()


def test_bundle_with_other_files_is_refused_before_the_training(copied, monkeypatch, content):
    monkeypatch.setattr(run_module._Training, "read", refuse)
    (copied.folder / "run/bundle/mine").write_text("mine")
    before = content(copied.folder / "run")
    text = r"run/bundle: a bundle replaces the whole folder; .* other files, 'mine' among them$"
    with pytest.raises(BundleError, match=text):
        copied.train()
    assert content(copied.folder / "run") == before


def test_folder_that_cannot_be_made_is_refused_before_the_training(project, monkeypatch):
    monkeypatch.setattr(run_module._Training, "read", refuse)
    for folder in ("x" * 300, "/proc/none/run", "recipe.yaml/run"):
        with pytest.raises(StorageError, match="cannot be written: "):
            project.train(folder=folder)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        pytest.param("features", "shard-00002", marks=pytest.mark.slow),
        ("stages/gating/", "held-out-1"),
        pytest.param("bundle", "bundle", marks=pytest.mark.slow),
        ("", "report.md"),
    ],
)
def test_full_disk_stops_the_run_and_continuing_ends_with_the_same_bytes(
    project, trained, content, monkeypatch, armorm, part, name
):
    """The disk is full from the first file of that name on."""
    import armorm.storage as storage

    sync, folder = storage._sync, project.folder / "run"

    def full(path):
        if f".{name}" in str(path) and part in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    recipe = project.write()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_sync", full)
        code, out, err = armorm("train", recipe, "-o", folder)
    assert code == 2
    assert out == ""
    (line,) = [text for text in err if text.startswith("error: ")]
    assert name in line
    assert "the disk is full; free some space and run the same command again" in line
    assert not (folder / "run.json").exists()
    assert not [p for p in folder.rglob("*.part")]
    project.train()
    for part in ("bundle", "features", "stages"):
        assert content(folder / part) == content(trained.folder / "run" / part)


def test_interrupt_says_one_line_and_the_run_goes_on(
    project, trained, content, monkeypatch, armorm
):
    folder, fit = project.folder / "run", run_module.Fitter.fit

    def interrupted(self, held_out):
        if held_out == 1:
            raise KeyboardInterrupt
        return fit(self, held_out)

    recipe = project.write()
    with monkeypatch.context() as patch:
        patch.setattr(run_module.Fitter, "fit", interrupted)
        code, _, err = armorm("train", recipe, "-o", folder)
    assert code == 130
    text = (
        "interrupted: run the same command again; `train`, `extract` and `label` "
        "continue where they stopped"
    )
    assert len([line for line in err if line.removeprefix("error: ") == text]) == 1
    assert "Traceback" not in "".join(err)
    run = project.train()
    assert sorted(run.reused) == sorted(f"{stage}/held-out-0" for stage in STAGES)
    assert content(folder / "bundle") == content(trained.folder / "run/bundle")


def test_dropped_rows_are_counted_in_file_and_report(project):
    project.rated[0]["ratings"]["good"] = 9
    project.rated[1]["response"] = ""
    project.rated[2]["response"] = "blue " * 80
    project.pairs[0]["rejected"] = project.pairs[0]["chosen"]
    project.pairs[1]["chosen"] = "red " * 80
    project.pairs[2]["chosen"], project.pairs[2]["rejected"] = "old " * 80, "wet " * 80
    run = project.train("bad_rows=drop")
    counts = json.loads((project.folder / "run/dropped-rows.json").read_text())
    by_file = {Path(name).name: reasons for name, reasons in counts.items()}
    assert sum(by_file["rated.jsonl"].values()) == 2
    assert sum(by_file["pairs.jsonl"].values()) == 1
    assert by_file["features of rated"] == {"response alone longer than 64 tokens": 1}
    assert by_file["features of pairs"] == {"response alone longer than 64 tokens": 2}
    assert run.report.data.dropped == counts
    assert (run.report.data.rated, run.report.data.pairs) == (57, 27)
    assert any(note.startswith("dropped 6 of 90 rows: ") for note in run.notes)
    assert copied_run_counts_the_same(project, counts)


def copied_run_counts_the_same(project, counts):
    """A run that finds its features on the disk counts as one that extracts them."""
    (project.folder / "run/run.json").unlink()
    project.train("bad_rows=drop")
    return json.loads((project.folder / "run/dropped-rows.json").read_text()) == counts


def test_bad_row_stops_the_run_by_default_and_nothing_is_written(project):
    project.rated[7]["ratings"]["good"] = 9
    with pytest.raises(DataError, match=r"rated.jsonl:8: .*'good' must be .* 0 to 4"):
        project.train()
    assert not (project.folder / "run").exists()


@pytest.mark.parametrize(
    ("change", "overrides", "text"),
    [
        (
            None,
            ["features.max_tokens=8"],
            r"'good' must have at least 10 ratings; got 0; .*; dropped 90 of 90 rows: 90 response "
            r"alone longer than 8 tokens; `features.max_tokens` sets the longest$",
        ),
        (
            "pairs",
            [],
            r"preference pairs must be .*; found in 0; dropped 30 of 90 rows: 30 response alone "
            r"longer than 64 tokens; `features.max_tokens` sets the longest$",
        ),
    ],
)
def test_rows_that_are_all_too_long_are_the_cause_that_is_named(project, change, overrides, text):
    if change is not None:
        for row in project.pairs:
            row["chosen"] = "red " * 80
    with pytest.raises(DataError, match=text):
        project.train(*overrides)


def test_no_row_is_blamed_where_none_was_lost(project):
    project.recipe["derived_pairs"] = {"weights": {"good": 1.0}, "min_gap": 0.99}
    for row in project.rated:
        row["ratings"]["good"] = min(row["ratings"]["good"], 2)
    with pytest.raises(DataError, match=r"differ by 0.99 or more$"):
        project.train()


def test_settings_that_lead_nowhere_are_one_mistake_of_the_recipe(project, monkeypatch):
    # As a range in the recipe that is too wide would let them through.
    start = run_module.GatingSettings
    monkeypatch.setattr(
        run_module, "GatingSettings", lambda **how: start(**how | {"temperature": 1e-300})
    )
    with pytest.raises(RecipeError, match=r"gating: training must have a finite loss; it has none"):
        project.train()


def test_head_without_noise_estimate_is_kept(project):
    # So small a penalty leaves no degree of freedom: the noise is NaN, which JSON has not.
    run = project.train("ridge.alphas=[1e-12]")
    assert {row.std for row in run.report.objectives} == {None}
    assert (
        load_bundle(project.folder / "run/bundle").facts["objectives"]["good"]["noise_std"] is None
    )


@pytest.mark.parametrize("kind", ["derived alone", "derived and real", "one round"])
def test_other_kinds_of_runs_end_in_a_bundle(project, kind):
    overrides = []
    if kind != "one round":
        project.recipe["derived_pairs"] = {"weights": {"good": 1.0}, "min_gap": 0.25}
    if kind == "derived alone":
        del project.recipe["pairs"]
    if kind == "one round":
        overrides = ["evaluation.rounds=1"]
    run = project.train(*overrides)
    names = [row.scorer for row in run.report.preferences]
    if kind == "derived alone":
        assert names == []
        assert run.report.data.derived_pairs > 0
        assert not [stage for stage in run.fitted if stage.startswith("baselines")]
    else:
        assert "gated" in names
        assert len(names) == 6
    if kind == "one round":
        assert {row.n for row in run.report.objectives} < set(range(15, 30))
        assert "1 of 3 folds of prompts held out" in run.report.protocol
    assert load_bundle(project.folder / "run/bundle").objectives == ("good", "kind", "verbosity")


def test_nuisances_are_looked_for_before_anything_is_read(trained, project):
    shutil.copytree(trained.folder / "run/bundle", project.folder / "given")
    del project.recipe["rated"], project.recipe["scales"], project.recipe["ridge"]
    project.recipe["ridge"] = "given"
    with pytest.raises(RecipeError, match=r"debias.nuisances: unknown objective 'verbose'; did yo"):
        project.train("debias.nuisances=[verbose]")
    with pytest.raises(RecipeError, match="one objective must not be a nuisance; all are"):
        project.train("debias.nuisances=[good, kind, verbosity]")
    assert not (project.folder / "run").exists()


def test_threads_of_the_caller_come_back(project):
    before = torch.get_num_threads()
    project.rated = []
    with pytest.raises(DataError):
        project.train(f"threads={before + 1}")
    assert torch.get_num_threads() == before


def test_run_without_matplotlib_keeps_its_figures_and_says_so(copied, monkeypatch):
    def absent(report, folder):
        raise MissingDependency("drawing plots", "plots")

    (copied.folder / "run/run.json").unlink()
    monkeypatch.setattr("armorm.train.output.write_plots", absent)
    run = copied.train()
    text = "drawing plots needs the optional packages: pip install 'armorm[plots]'"
    assert text in run.notes
    assert text in read_report(copied.folder / "run").notes
    assert not (copied.folder / "run/plots").exists()


def test_watch_hears_of_every_step(project):
    said = []
    project.train(watch=lambda *what: said.append(what))
    steps = list(dict.fromkeys(stage for stage, *_ in said))
    assert steps[:3] == ["read rows", "features: rated", "features: pairs"]
    assert steps[-1] == "report and bundle"
    counted = [what[:3] for what in said]
    assert ("features: pairs", 60, 60) in counted
    assert ("heads", 8, 8) in counted  # two gates a fit, three folds and everything
    assert all(0 <= done <= total for _, done, total, _ in said)


def test_recipe_object_is_all_that_a_run_needs(trained, tmp_path, monkeypatch):
    from armorm.train.recipe import load_recipe

    # The resolved recipe of a run starts the same run from any folder.
    shutil.copytree(trained.folder / "run", tmp_path / "run")
    monkeypatch.setattr(features_module, "load_backbone", refuse)
    run = train(load_recipe(trained.folder / "run/recipe.yaml"), tmp_path / "run")
    assert run.work == "everything is up to date; nothing was run"
