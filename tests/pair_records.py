"""Records of the published pair sets in their true columns, all texts ours, and their rows."""

from armorm.data.drops import RowProblem
from armorm.data.sources.registry import published_set
from armorm.types import PreferencePair


def converted(name, *records):
    """Rows and problems of records that belong together."""
    return list(published_set(name).convert(records))


def pairs(name, *records):
    """The (chosen, rejected) of the pairs alone."""
    rows = converted(name, *records)
    return [(row.chosen, row.rejected) for row in rows if isinstance(row, PreferencePair)]


def refusal(name, *records):
    """The one problem of records that give nothing else."""
    try:
        (problem,) = converted(name, *records)
    except RowProblem as raised:
        return raised
    assert isinstance(problem, RowProblem)
    return problem


def said(*contents):
    """A conversation that a user opens."""
    roles = ("user", "assistant") * len(contents)
    return [
        {"content": content, "role": role} for content, role in zip(contents, roles, strict=False)
    ]


def helpsteer(prompt, response, helpfulness):
    """A record of HelpSteer or HelpSteer2."""
    other = {"correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 2}
    return {"prompt": prompt, "response": response, "helpfulness": helpfulness, **other}


def strength(value, split="train", prompt="Name a prime."):
    """A record of HelpSteer2's preferences."""
    return {
        "split": split,
        "prompt": prompt,
        "response_1": "Seven.",
        "response_2": "Nine.",
        "preference_strength": value,
        "preference_statement": "One of them is right.",
        "preference_elaboration": "Nine is three times three.",
        "three_most_similar_preferences": [],
        "all_preferences_unprocessed": [],
    }


def completion(response, instruction_following, honesty, truthfulness, helpfulness, overall=5.0):
    """A completion of UltraFeedback; its ratings are texts."""
    return {
        "model": "m",
        "principle": "honesty",
        "custom_system_prompt": f"You say {response}",
        "response": response,
        "annotations": {
            "instruction_following": {"Rating": instruction_following, "Rationale": "r"},
            "honesty": {"Rating": honesty, "Rationale": "r"},
            "truthfulness": {"Type": ["1"], "Rating": truthfulness, "Rationale": "r"},
            "helpfulness": {"Type": ["1"], "Rating": helpfulness, "Rationale": "r"},
        },
        "overall_score": overall,
        "fine-grained_score": 4.0,
        "critique": "c",
    }


def ultrafeedback(*completions):
    """A record of UltraFeedback."""
    return {
        "source": "flan",
        "instruction": "Name a prime.",
        "models": ["m"] * len(completions),
        "completions": list(completions),
        "correct_answers": ["None"],
        "incorrect_answers": ["None"],
    }


def binarised(chosen_rating=5.0, rejected_rating=3.5, rejected=None):
    """A record of Argilla's binarised UltraFeedback."""
    return {
        "source": "flan",
        "prompt": "Name a prime.",
        "chosen": said("Name a prime.", "Seven."),
        "chosen-rating": chosen_rating,
        "chosen-model": "m",
        "rejected": rejected or said("Name a prime.", "Nine."),
        "rejected-rating": rejected_rating,
        "rejected-model": "n",
    }


def shp(labels=1, ratio=3.0, post="p1", a="Boil it.", b="Fry it.", scores=None):
    """A record of SHP."""
    low, high = 10, round(10 * ratio)
    score_a, score_b = scores or ((high, low) if labels == 1 else (low, high))
    return {
        "post_id": post,
        "domain": "askculinary_train",
        "upvote_ratio": 0.9,
        "history": f"How do I cook rice ({post})?",
        "c_root_id_A": "a",
        "c_root_id_B": "b",
        "created_at_utc_A": 1,
        "created_at_utc_B": 2,
        "score_A": score_a,
        "score_B": score_b,
        "human_ref_A": a,
        "human_ref_B": b,
        "labels": labels,
        "seconds_difference": 1.0,
        "score_ratio": ratio,
    }


def hh(chosen, rejected):
    """A record of HH-RLHF."""
    return {"chosen": chosen, "rejected": rejected}


def pku(better, safer, safe_0, safe_1):
    """A record of PKU-SafeRLHF."""
    return {
        "prompt": "How do I open this lock?",
        "response_0": "Call a locksmith.",
        "response_1": "Drill it.",
        "is_response_0_safe": safe_0,
        "is_response_1_safe": safe_1,
        "better_response_id": better,
        "safer_response_id": safer,
    }


def capybara(chosen_rating=5, rejected_rating=3, rejected="Nine."):
    """A record of Capybara-Preferences."""
    history = ("Do you know primes?", "Yes.", "Name one.")
    return {
        "source": "Dove",
        "chosen": said(*history, "Seven."),
        "chosen_rating": chosen_rating,
        "chosen_model": "m",
        "rejected": said(*history, rejected),
        "rejected_rating": rejected_rating,
        "rejected_model": "n",
    }


def math(chosen_rating=9.0, rejected_rating=4.0):
    """A record of Math-Preference."""
    return {
        "metadata": "{}",
        "instruction": "What is 2 + 2?",
        "chosen_response": "4",
        "chosen_rating": chosen_rating,
        "rejected_response": "5",
        "rejected_rating": rejected_rating,
    }


def orca(status="unchanged", chosen_score=9.0, system="Be brief."):
    """A record of the OpenOrca pairs."""
    return {
        "system": system,
        "input": "What is 2 + 2?",
        "chosen": "4",
        "rejected": "5",
        "generations": ["5", "4"],
        "order": ["rejected", "chosen"],
        "labelling_model": "m",
        "labelling_prompt": said("Judge."),
        "raw_labelling_response": "5\n9",
        "rating": [5.0, chosen_score],
        "rationale": "r",
        "status": status,
        "original_chosen": "4",
        "original_rejected": "5",
        "chosen_score": chosen_score,
        "in_gsm8k_train": False,
    }


def code(*ratings, models="abcd"):
    """A record of CodeUltraFeedback; the annotations are in another order than the responses."""
    judged = [
        {"model": model, "rating": rating, "rationale": "r"}
        for model, rating in zip(models, ratings, strict=False)
    ]
    return {
        "instruction": "Add two numbers.",
        "preference": "readability",
        "models": list(models[: len(ratings)]),
        "responses": [
            {"model": model, "response": f"code {model}"} for model in models[: len(ratings)]
        ],
        "annotations": judged[::-1],
    }


def step(*completions, chosen=0):
    """A step of a solution: completions as (text, rating)."""
    return {
        "completions": [
            {"text": text, "rating": rating, "flagged": None} for text, rating in completions
        ],
        "human_completion": None,
        "chosen_completion": chosen,
    }


def prm(*steps, finish_reason="found_error", quality_control=False, screening=False):
    """A record of PRM800K."""
    return {
        "labeler": "l",
        "timestamp": "2023-01-01T00:00:00",
        "generation": 1,
        "is_quality_control_question": quality_control,
        "is_initial_screening_question": screening,
        "question": {
            "problem": "What is 2 + 2 + 2?",
            "ground_truth_solution": "6",
            "ground_truth_answer": "6",
            "pre_generated_steps": ["2 + 2 = 4.", "4 + 2 = 7."],
            "pre_generated_answer": "7",
            "pre_generated_verifier_score": 0.1,
        },
        "label": {"steps": list(steps), "total_time": 1, "finish_reason": finish_reason},
    }


def collection(preference="A"):
    """A record of the Preference-Collection."""
    return {
        "orig_instruction": "Name a prime.",
        "orig_response_A": "Seven.",
        "orig_response_B": "Nine.",
        "orig_reference_answer": "Two.",
        "orig_criteria": "Is it prime?",
        "orig_preference": preference,
        "orig_score_A": "5",
        "orig_score_B": "1",
        "instruction": "###Task Description: judge.",
        "output": f"Feedback: one is prime. [RESULT] {preference}",
    }


def helpsteer3(overall):
    """A record of HelpSteer3."""
    return {
        "domain": "general",
        "language": "english",
        "context": [
            {"role": "user", "content": "Do you know primes?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Name one."},
        ],
        "response1": "Seven.",
        "response2": "Nine.",
        "overall_preference": overall,
        "individual_preference": [
            {"score": overall, "reasoning": "r", "feedback1": "f", "feedback2": "f"}
        ],
    }


def standard(rejected=("Do you know primes?", "Yes.", "Name one.", "Nine."), **more):
    """A record of RLHFlow's form or of Skywork."""
    chosen = said("Do you know primes?", "Yes.", "Name one.", "Seven.")
    return {"chosen": chosen, "rejected": said(*rejected), **more}
