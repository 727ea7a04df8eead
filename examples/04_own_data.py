"""Train on your own ratings: a recipe, a CSV file, one call."""

import sys
from pathlib import Path

from armorm import RewardModel
from armorm.train.recipe import load_recipe
from armorm.train.run import train

here = Path(__file__).parent
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own-data")

recipe = load_recipe(here.parent / "recipes" / "own-data.yaml", ["gating.max_steps=100"])
run = train(recipe, folder)

print(run.work)
for figures in run.report.objectives:
    print(f"  {figures.name:<12} Spearman {figures.spearman.value:.2f} on {figures.n} rows")
for note in run.notes:
    print(f"  note: {note}")

model = RewardModel.load(folder / "bundle")
answers = ["I have sent you a new one today, free of charge. Sorry!", "Not our problem."]
scores = model.score([{"prompt": "My mug arrived broken.", "response": a} for a in answers]).score
for answer, score in zip(answers, scores.tolist(), strict=True):
    print(f"  {score:6.3f}  {answer}")
