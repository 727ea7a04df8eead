"""A report, an audit and a protocol result with every part, small enough to be drawn in tests."""

import json

import numpy as np

from armorm.evaluate.audit import figures as audit_figures
from armorm.evaluate.audit.calibration import calibration, reliability
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.calibration_figures import CalibrationFigures
from armorm.evaluate.figures import (
    ComparisonFigures,
    FlipFigures,
    ObjectiveSides,
    RatedRowFigures,
)
from armorm.evaluate.heads_figures import gating_figures
from armorm.evaluate.interval import value_only
from armorm.evaluate.length import PairScores, length_curve
from armorm.evaluate.protocols import evaluate_protocol

FEW = Resampling(n_resamples=100)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & 'text' {{ 7 * 7 }}"
"""A response that must appear as the text it is."""


def with_curves(report, n=120, seed=3):
    """The report with calibration, length and comparisons of n pairs."""
    rng = np.random.default_rng(seed)
    chosen, rejected = rng.normal(0.8, 1, n), rng.normal(0, 1, n)
    groups = [f"p{i}" for i in range(n)]
    lengths = rng.integers(20, 900, (2, n))
    length = length_curve(
        PairScores(chosen, rejected),
        lengths[0],
        lengths[1],
        groups,
        before=PairScores(chosen + 0.3, rejected),
        resampling=FEW,
    )
    margins = chosen - rejected
    return report.model_copy(
        update={
            "length": length,
            "calibration": CalibrationFigures(
                n=n,
                beta=2.0,
                temperature=1.7,
                before=reliability(margins, groups, beta=2.0, resampling=FEW),
                after=reliability(margins, groups, beta=2.0 / 1.7, resampling=FEW),
            ),
            "comparisons": comparisons(rng),
        }
    )


def comparisons(rng, n=37):
    """n comparisons of three sources, the first of hostile text, the third one wrong."""
    names = ["helpfulness", "is_safe", "verbosity", "honesty"]
    found = []
    for i in range(n):
        parts = rng.normal(0.1, 0.1, len(names)).round(3)
        if i == 2:
            parts = -np.abs(parts)
        margin = float(parts.sum())
        order = np.argsort(-np.abs(parts))
        found.append(
            ComparisonFigures(
                id=f"pair-{i}",
                source=["code", "general", "safety"][i % 3],
                kind="spread",
                prompt=f"Question {i}?" if i else HOSTILE,
                chosen=f"Answer {i} about kettles." if i % 5 == 0 else f"Answer {i}.",
                rejected=HOSTILE if i == 0 else f"Other answer {i}.",
                clipped=("chosen",) if i == 1 else (),
                chosen_score=1.0 + margin,
                rejected_score=1.0,
                margin=margin,
                probability=float(1 / (1 + np.exp(-4 * margin))),
                deciding=(names[order[0]],),
                objectives=tuple(
                    ObjectiveSides(
                        name=names[j],
                        chosen=0.5,
                        rejected=0.4,
                        contribution=float(parts[j]),
                        gating=0.25,
                    )
                    for j in order
                ),
                sentence=f"Sentence of pair {i}.",
                flip=FlipFigures(
                    sentence="It would prefer the other one if honesty counted for less.",
                    option="--scale honesty=0.4",
                ),
                nearest=(
                    RatedRowFigures(
                        objective="honesty",
                        side="chosen",
                        id="row-1",
                        source="general",
                        rating=3.0,
                        low=0.0,
                        high=4.0,
                        similarity=0.8,
                        prompt="How?",
                        response="So.",
                    ),
                ),
            )
        )
    return tuple(found)


def make_audit(n=60, seed=7):
    """An audit of a score and three objectives."""
    rng = np.random.default_rng(seed)
    names = ("helpfulness", "is_safe", "verbosity")
    targets = ("score", *names)

    def figure(value):
        return value_only(float(value), n_rows=n, n_groups=n)

    def effect(edit, kind, target):
        value = rng.normal(0.2 if edit == "flattery" else -0.1, 0.2)
        return audit_figures.EditEffect(
            edit=edit,
            kind=kind,
            target=target,
            n=n,
            n_left_out=0,
            share_raised=figure(rng.random()),
            share_lowered=0.1,
            mean_change=figure(value),
            largest=(),
        )

    matrix = np.corrcoef(rng.normal(size=(3, 50)))
    matrix[2], matrix[:, 2] = np.nan, np.nan
    rows = tuple(tuple(row) for row in matrix.tolist())
    gating = rng.dirichlet(np.ones(3), n)
    groups = [f"p{i}" for i in range(n)]
    return audit_figures.Audit(
        name="audited <b>",
        backbone={},
        files=(audit_figures.FileFacts(path="rows.jsonl", kind="pairs", n_rows=n, n_prompts=n),),
        n_rows=2 * n,
        n_prompts=n,
        correlations=tuple(
            audit_figures.Correlation(
                target=target,
                measure=measure,
                before=figure(0.4),
                after=figure(0.1),
                within_before=figure(rng.random()),
                within_after=figure(rng.random() / 4),
            )
            for target in targets
            for measure in ("length", "list density")
        ),
        edits=tuple(
            effect(edit, kind, target)
            for edit, kind in (("flattery", "edit"), ("padding", "edit"), ("half cut", "cut"))
            for target in targets
        ),
        paraphrases=tuple(
            audit_figures.ParaphraseEffect(
                target=target, n=12, mean_size=figure(rng.random()), largest=()
            )
            for target in targets
        ),
        calibration=calibration(
            rng.normal(0.8, 1, n),
            groups,
            beta=1.5,
            is_fit=[i % 2 == 0 for i in range(n)],
            resampling=FEW,
        ),
        structure=audit_figures.Structure(
            objectives=names,
            before=rows,
            after=rows,
            effective_before=2.0,
            effective_after=1.8,
            most_alike=(("helpfulness", "is_safe", float(matrix[0, 1])),),
        ),
        gating=audit_figures.GatingAudit(
            figures=gating_figures(gating, ["a"] * (n // 2) + ["b"] * (n // 2), objectives=names),
            n_prompts=n,
            effective=2.1,
            largest_spread=0.2,
            unused=(),
        ),
        shared_prompts=(),
        findings=(
            audit_figures.Finding(
                severity="high",
                kind="edit",
                target="score",
                sentence="Flattery raises the score.",
                rows=("row-1", "row-2"),
                advice="Add pairs whose rejected response is the chosen one with this edit.",
            ),
        ),
        notes=("A note <i>.",),
    )


class Drawn:
    """A scorer that wins a share of the rows, which ones drawn by a seed."""

    def __init__(self, name, share, seed):
        self.name, self.identity = name, f"{seed:064x}"
        self._share, self._seed = share, seed

    def score(self, conversations, *, progress=None):
        rng = np.random.default_rng(self._seed)
        wins = {c.prompt[0].content: rng.random() < self._share for c in conversations}
        return np.array(
            [
                float(wins[c.prompt[0].content] == c.response.startswith("yes"))
                for c in conversations
            ]
        )


def make_result(folder):
    """Two sections of RewardBench judged by three models."""
    path = folder / "rows.jsonl"
    rows = [
        {"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": f"no {i}", "subset": subset}
        for i, subset in enumerate(["hep-go"] * 30 + ["alpacaeval-easy"] * 40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = [Drawn("good", 0.9, 1), Drawn("alike", 0.85, 2), Drawn("<poor>", 0.5, 3)]
    return evaluate_protocol("rewardbench", models, data=str(path), partial=True, resampling=FEW)
