"""Requests of other tools, as they send them; the answers are the files in `serve/golden/`.

`python tests/serving_golden.py` writes the answers anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "serve" / "golden"

PROMPT = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nIs ice cold?<|im_end|>\n"
OPENED = PROMPT + "<|im_start|>assistant\n"
SAID = "Yes, below 0 degrees."
LLAMA = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nIs ice cold?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nYes, below 0 degrees.<|eot_id|>"
)
MESSAGES = [{"role": "user", "content": "Is ice cold?"}, {"role": "assistant", "content": SAID}]
EPISODE = {
    "responses_create_params": {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Is ice cold?"}]},
        ],
        "temperature": 0.7,
    },
    "response": {
        "id": "resp-1",
        "output": [
            {"type": "reasoning", "summary": []},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": SAID, "annotations": []}],
            },
        ],
    },
    "task_id": 7,
}

CASES: dict[str, tuple[str, Any]] = {
    "score": ("/v1/score", {"prompt": "Is ice cold?", "responses": [SAID, "No."]}),
    "explain": ("/v1/explain", {"conversations": [{"id": "ice", "messages": MESSAGES}]}),
    "compare": ("/v1/compare", {"prompt": "Is ice cold?", "chosen": SAID, "rejected": "No."}),
    "openrlhf": (
        "/get_reward",
        {"query": [f"{OPENED}{SAID}<|im_end|>\n"], "prompts": [OPENED], "labels": [None]},
    ),
    "openrlhf-empty-lists": ("/get_reward", {"query": [], "prompts": [], "labels": []}),
    "openrlhf-empty-response": (
        "/get_reward",
        {"query": [f"{OPENED}<|im_end|>\n", LLAMA], "prompts": [OPENED, ""], "labels": ["a", "b"]},
    ),
    "vllm-classify": (
        "/classify",
        {"model": "m", "input": [LLAMA, OPENED + SAID], "use_activation": False},
    ),
    "vllm-classify-messages": ("/v1/classify", {"messages": MESSAGES, "use_activation": True}),
    "vllm-pooling": ("/pooling", {"model": "m", "input": LLAMA, "task": "classify"}),
    "vllm-pooling-base64": ("/pooling", {"input": LLAMA, "encoding_format": "base64"}),
    "sglang-classify": ("/classify", {"model": "m", "text": [LLAMA]}),
    "sglang-embeddings": ("/v1/embeddings", {"model": "m", "input": LLAMA}),
    "tei-predict": ("/predict", {"inputs": LLAMA, "truncate": False}),
    "tei-predict-batch": ("/predict", {"inputs": [LLAMA, LLAMA], "raw_scores": True}),
    "tei-rerank": (
        "/rerank",
        {"query": "Is ice cold?", "texts": ["No.", SAID], "raw_scores": True, "return_text": True},
    ),
    "vllm-rerank": ("/v1/rerank", {"query": OPENED, "documents": ["No.", SAID], "top_n": 1}),
    "slime": ("/remote_rm", {"prompt": OPENED, "response": SAID, "label": "x"}),
    "llama-factory": ("/v1/score/evaluation", {"model": "m", "messages": [LLAMA, LLAMA]}),
    "nemo-gym": ("/verify", EPISODE),
    "nemo-gym-no-answer": (
        "/verify",
        {"responses_create_params": {"input": "Is ice cold?"}, "response": {"output": []}},
    ),
}


def settled(answer: Any) -> Any:
    """An answer without what differs from time to time."""
    if isinstance(answer, dict) and "id" in answer and "-" in str(answer["id"]):
        answer = answer | {"id": answer["id"].partition("-")[0] + "-…"}
    return answer | {"created": 0} if isinstance(answer, dict) and "created" in answer else answer


def main() -> None:
    """Write the answers of this version."""

    from armorm import RewardModel
    from bundles import make_bundle
    from fakes import HashBackbone
    from serving import served

    backbone = HashBackbone()
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    with served(model, unscored=-1.0) as server:
        for name, (path, body) in CASES.items():
            answer = settled(server.post(path, body).json())
            text = json.dumps(answer, indent=1, ensure_ascii=False)
            (GOLDEN / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
