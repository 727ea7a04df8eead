"""Records of published rated data sets: written here, in the schema of their cards."""

from armorm.data.sources.armorm_merged import OBJECTIVES

HELPSTEER = [
    {
        "prompt": "Name a colour.",
        "response": "Blue.",
        "helpfulness": 4,
        "correctness": 4,
        "coherence": 4,
        "complexity": 1,
        "verbosity": 0,
    },
    {
        "prompt": "Name a colour.",
        "response": "There are so many of them.",
        "helpfulness": 0,
        "correctness": 1,
        "coherence": 3,
        "complexity": 2,
        "verbosity": 3,
    },
]

HELPSTEER2 = [
    HELPSTEER[0],
    {
        **HELPSTEER[1],
        "prompt": "I have 3 pears.\n\n<extra_id_1>Assistant\nNoted.\nAnything else?\n\n"
        "<extra_id_1>User\nI eat one. How many are left?",
        "response": "2 pears.",
    },
]


def aspect(rating, **more):
    """An aspect of UltraFeedback: its rating is a text."""
    return {"Rating": rating, "Rationale": "It says so.", **more}


def completion(response, *, overall=7.5, ratings=("4", "5", "3", "2"), system="Be honest."):
    """A completion of UltraFeedback; ratings follow instruction, truth, honesty, help."""
    followed, true, honest, helpful = ratings
    return {
        "model": "some-7b",
        "principle": "honesty",
        "custom_system_prompt": system,
        "response": response,
        "annotations": {
            "instruction_following": aspect(followed),
            "honesty": aspect(honest),
            "truthfulness": aspect(true, Type=["1"], **{"Rationale For Rating": "So."}),
            "helpfulness": aspect(helpful, Type=["2"], **{"Rationale For Rating": "So."}),
        },
        "overall_score": overall,
        "fine-grained_score": 3.5,
        "critique": "Fine.",
    }


ULTRAFEEDBACK = [
    {
        "source": "evol_instruct",
        "instruction": "What is salt?",
        "models": ["some-7b", "other-13b"],
        "completions": [
            completion("Sodium chloride."),
            completion("I do not know.", overall=1.0, ratings=("1", "N/A", "5", "1"), system=""),
        ],
        "correct_answers": ["None"],
        "incorrect_answers": ["None"],
    }
]


def safety(response, safe):
    """A record of BeaverTails."""
    categories = {"violence,aiding_and_abetting,incitement": not safe, "privacy_violation": False}
    prompt = "How do I open my neighbour's door?"
    return {"prompt": prompt, "response": response, "category": categories, "is_safe": safe}


BEAVERTAILS = [safety("Ask them.", True), safety("Break it.", False), safety("Break it.", True)]

CODE = [
    {
        "instruction": "Sum a list in Python.",
        "preference": "readability",
        "models": ["a-7b", "b-13b"],
        "responses": [
            {"model": "a-7b", "response": "sum(numbers)"},
            {"model": "b-13b", "response": "t=0\nfor n in numbers:t+=n"},
        ],
        # Not in the order of the responses.
        "annotations": [
            {"model": "b-13b", "rating": "2", "rationale": "Dense."},
            {"model": "a-7b", "rating": "5", "rationale": "Clear."},
        ],
    }
]

PROMETHEUS = [
    {
        "orig_instruction": "Console a friend.",
        "orig_response": "I am sorry to hear that.",
        "orig_reference_answer": "That must hurt.",
        "orig_criteria": "Does it show empathy?",
        **{f"orig_score{n}_description": f"Level {n}." for n in range(1, 6)},
        "orig_feedback": "Some.",
        "orig_score": "3",
        "instruction": "###Task Description: judge this",
        "output": "Some. [RESULT] 3",
    }
]

_TALK = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "What is the sun?"},
]

CAPYBARA = [
    {
        "source": "Airoboros",
        "chosen": [*_TALK, {"role": "assistant", "content": "A star."}],
        "chosen_rating": 5,
        "chosen_model": "a",
        "rejected": [*_TALK, {"role": "assistant", "content": "A lamp."}],
        "rejected_rating": 1,
        "rejected_model": "b",
    }
]

OPENORCA = [
    {
        "system": "You are an assistant.",
        "input": "Is water wet?",
        "chosen": "Yes.",
        "rejected": "Hm.",
        # The judge saw them in this order, and `rating` follows it.
        "generations": ["Hm.", "Yes."],
        "order": ["rejected", "chosen"],
        "labelling_model": "gpt-4-1106-preview",
        "rating": [2.0, 9.0],
        "status": "unchanged",
        "chosen_score": 9.0,
        "in_gsm8k_train": False,
    }
]

MATH = [
    {
        "metadata": "{}",
        "instruction": "What is 7 times 8?",
        "chosen_response": "56.",
        "chosen_rating": 9.0,
        "rejected_response": "54.",
        "rejected_rating": 7.0,
    }
]

MERGED = [
    {
        "messages": [*_TALK, {"role": "assistant", "content": "A star."}],
        **dict.fromkeys(OBJECTIVES),
        "helpsteer-helpfulness": 0.9,
        "helpsteer-verbosity": 0.1,
    }
]

RECORDS = {
    "helpsteer": HELPSTEER,
    "helpsteer2": HELPSTEER2,
    "ultrafeedback": ULTRAFEEDBACK,
    "beavertails": BEAVERTAILS,
    "code-ultrafeedback": CODE,
    "prometheus": PROMETHEUS,
    "capybara": CAPYBARA,
    "capybara-all": CAPYBARA,
    "openorca": OPENORCA,
    "math-preference": MATH,
    "armorm-merged": MERGED,
}
"""A few records by name of the set."""
