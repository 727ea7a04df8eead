"""Random score tables of every shape, and the figures of protocols written out as loops."""

import math
from itertools import combinations

import numpy as np

from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import group_rows
from armorm.evaluate.protocols.compared import figure_intervals
from armorm.evaluate.protocols.coverage import cover
from armorm.evaluate.protocols.plan import (
    figures_of,
    keys_of,
    measure,
    reference_components,
)
from armorm.evaluate.protocols.protocol import ProtocolRow
from armorm.types import Message

PROMPT = (Message("user", "Why?"),)


def row(subset, n_responses, **fields):
    """A row whose texts do not matter: tables of scores go around them."""
    fields = {"id": "r", "group": "g"} | fields
    return ProtocolRow(
        subset=subset,
        prompt=PROMPT,
        responses=tuple(f"response {i}" for i in range(n_responses)),
        **fields,
    )


def figures(protocol, rows, tables):
    """Every figure by (kind, name), without intervals."""
    order = {id(r): t for r, t in zip(rows, tables, strict=True)}
    protocol, rows, _ = cover(protocol, rows, path="rows", partial=True)
    scores = np.concatenate([order[id(r)] for r in rows])
    found = figures_of(protocol, reference_components(rows))
    keys = keys_of(found)
    measured = measure(protocol, rows, scores, keys)
    grouping = group_rows(["one"] * len(rows), n_rows=len(rows))
    values = figure_intervals(found, keys, [measured], grouping, resampling=Resampling()).values[0]
    return {(f.kind, f.name): v.value for f, v in zip(found, values, strict=True)}


def draw(rng, n):
    """Scores with many exact ties."""
    return rng.integers(0, 4, n).astype(float) if rng.random() < 0.7 else rng.normal(size=n)


def slow_rewardbench(protocol, rows, tables):
    """Sections and overall of pairs in subsets."""
    accuracy = {}
    for name in {r.subset for r in rows}:
        wins = []
        for r, table in zip(rows, tables, strict=True):
            if r.subset == name:
                if table[0] > table[1]:
                    wins.append(1.0)
                elif table[0] == table[1] and protocol.tie == "half":
                    wins.append(0.5)
                else:
                    wins.append(0.0)
        accuracy[name] = sum(wins) / len(wins)
    sections, top, below = {}, 0.0, 0.0
    for section in protocol.sections:
        above, weights = 0.0, 0.0
        for subset in section.subsets:
            if subset.name in accuracy:
                above += accuracy[subset.name] * subset.weight
                weights += subset.weight
        if weights:
            sections[section.name] = above / weights
            top += section.weight * sections[section.name]
            below += section.weight
    return sections, top / below


def slow_best_of(table):
    """Credit of the first response."""
    best = max(table)
    if table[0] != best:
        return 0.0
    return 1.0 / sum(1 for value in table if value == best)


def slow_ties(rows, tables):
    """The Ties figure."""
    accurate = {"ref": [], "tied": []}
    facts = {}
    for r, table in zip(rows, tables, strict=True):
        kind, number = r.id.split(":")
        right, wrong = table[: r.n_correct], table[r.n_correct :]
        gap = min(right) - max(wrong)
        accurate[kind].append(1.0 if gap > 0 else 0.0)
        facts[kind, number] = (gap, max(right) - min(right))
    preferred, hard, margin = [], [], []
    for kind, number in facts:
        if kind == "tied" and ("ref", number) in facts:
            (ref_gap, _), (gap, spread) = facts["ref", number], facts["tied", number]
            smaller = min(ref_gap, gap)
            preferred.append(1.0 if gap > spread else 0.0)
            hard.append(1.0 if smaller > spread else 0.0)
            if spread > 0:
                margin.append(math.tanh(smaller / spread - 1))
            else:
                margin.append(float(np.sign(smaller)))

    def mean(values):
        return sum(values) / len(values) if values else 0.0

    return (
        0.3 * mean(accurate["tied"])
        + 0.3 * mean(accurate["ref"])
        + 0.2 * mean(preferred)
        + 0.2 * mean(hard)
        + 0.01 * mean(margin)
    )


def slow_rm_bench(rows, tables):
    """Domains, levels and overall."""
    cells = {}
    for r, table in zip(rows, tables, strict=True):
        domain = "safety" if r.subset.startswith("safety") else r.subset
        for i in range(3):
            for j in range(3):
                win = 1.0 if table[i] > table[3 + j] else 0.0
                cells.setdefault((domain, i, j), []).append(win)
    found = {}
    domains = list(dict.fromkeys(domain for domain, _, _ in cells))
    for level, of in (
        ("hard", [(0, 1), (0, 2), (1, 2)]),
        ("normal", [(0, 0), (1, 1), (2, 2)]),
        ("easy", [(1, 0), (2, 0), (2, 1)]),
    ):
        for domain in domains:
            three = [sum(cells[domain, i, j]) / len(cells[domain, i, j]) for i, j in of]
            found[domain, level] = sum(three) / 3
        found[level] = sum(found[domain, level] for domain in domains) / len(domains)
    for domain in domains:
        found[domain] = sum(found[domain, level] for level in ("hard", "normal", "easy")) / 3
    found["overall"] = sum(found[domain] for domain in domains) / len(domains)
    return found


def slow_expected(table, references, k):
    """Mean reference of the pick over every k of the responses, equal scores shared."""
    values = []
    for chosen in combinations(range(len(table)), k):
        best = max(table[i] for i in chosen)
        top = [references[i] for i in chosen if table[i] == best]
        values.append(sum(top) / len(top))
    return sum(values) / len(values)
