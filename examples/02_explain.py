"""Take a score apart, and say why one response beats another."""

import sys

from rich.console import Console

from armorm import PreferencePair, RewardModel
from armorm.data.messages import parse_prompt
from armorm.explain.render import render_pair
from armorm.explain.verdict import compare_pair

bundle = sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/bundle"
model = RewardModel.load(bundle)

explanation = model.explain({"prompt": "What is 7 times 8?", "response": "56."})
total = sum(explanation.contributions.values())
print(f"score {explanation.score:.4f} = sum of contributions {total:.4f}")
for name, value in sorted(explanation.contributions.items(), key=lambda item: -abs(item[1]))[:3]:
    print(f"  {name:<22} {value:+.3f}")
print()

pair = PreferencePair(
    id="plants",
    prompt=parse_prompt("My basil keeps dying on the window sill. What am I doing wrong?"),
    chosen=(
        "Most often it is water: let the top centimetre of soil dry, then water from below. "
        "Supermarket pots hold twenty seedlings in one; split them into four pots, and pinch "
        "off the tips rather than single leaves."
    ),
    rejected="Basil is a popular herb that goes well with tomatoes. Maybe try another herb.",
)
Console(width=100).print(render_pair(pair, compare_pair(model, pair), scales=model.bundle.scales))
