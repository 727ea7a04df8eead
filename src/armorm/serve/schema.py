"""Bodies and answers of our own routes, as types that check themselves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class Body(BaseModel):
    """A body of ours: an unknown field is refused, as is a number that is not finite."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Reply(BaseModel):
    """An answer of ours."""

    model_config = ConfigDict(allow_inf_nan=False)


class MessageIn(Body):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


PromptForm = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[MessageIn], Tag("list")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "list"),
]
"""Text, which is one user message, or messages that end with a user's."""

TAGS = ("text", "list", "object")
"""Names of forms in the places of errors, where nobody looks for them."""


class ConversationIn(Body):
    """A prompt and a response, or messages that end in a response."""

    id: str = ""
    prompt: PromptForm | None = None
    response: str | None = None
    messages: list[MessageIn] | None = None


AnyConversation = Annotated[
    Annotated[list[MessageIn], Tag("list")] | Annotated[ConversationIn, Tag("object")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "object"),
]
"""A conversation as an object or as a list of messages."""

Steering = dict[str, float]
"""Objective name -> number."""


class Steered(Body):
    """What every request of ours may say about the weighing."""

    weights: Steering | None = Field(
        None, description="Fixed weights on the objective scores, in place of gating and debias."
    )
    factors: Steering | None = Field(
        None, description="Factors of the gating, which is renormalised; 1 where not named."
    )


class ScoreBody(Steered):
    """Conversations, or one prompt and its responses."""

    conversations: list[AnyConversation] | None = None
    prompt: PromptForm | None = None
    responses: list[str] | None = None
    bad_rows: Literal["stop", "drop"] = Field(
        "stop", description="A row that cannot be scored refuses the request, or has no score."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "Is ice cold?", "responses": ["Yes, below 0 degrees.", "No."]},
                {
                    "conversations": [
                        {"id": "sum", "prompt": "What is 2 plus 2?", "response": "It is 4."},
                        {
                            "messages": [
                                {"role": "user", "content": "Hello."},
                                {"role": "assistant", "content": "Good day."},
                            ]
                        },
                    ],
                    "bad_rows": "drop",
                },
            ]
        }
    )


class CompareBody(Steered):
    """One prompt and a pair, or any number of responses that are ranked."""

    prompt: PromptForm
    chosen: str | None = None
    rejected: str | None = None
    responses: list[str] | None = None
    id: str = ""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "Is ice cold?", "chosen": "Yes, below 0 degrees.", "rejected": "No."},
                {"prompt": "Is ice cold?", "responses": ["Yes.", "No.", "It depends."]},
            ]
        }
    )


class ScoreOut(Reply):
    """The score of one conversation."""

    id: str
    score: float | None = Field(description="Null where `reason` says why there is none.")
    objectives: dict[str, float] | None = Field(description="Objective scores, before debias.")
    debiased: dict[str, float] | None = Field(
        description="Objective scores after the debias step, without nuisances."
    )
    n_tokens: int
    n_truncated: int
    reason: str | None = None


class ScoreReply(Reply):
    """Scores in the order of the request."""

    model: str
    results: list[ScoreOut]


class ExplanationOut(ScoreOut):
    """The score of one conversation and everything it is made of."""

    gating: dict[str, float] | None = Field(description="Null under fixed weights.")
    coefficients: dict[str, float] | None
    contributions: dict[str, float] | None = Field(description="They add up to the score.")
    ratings: dict[str, float] | None = Field(
        description="Objective scores as raw ratings, where all sources share a scale."
    )


class ExplainReply(Reply):
    """Explanations in the order of the request."""

    model: str
    results: list[ExplanationOut]


class DifferenceOut(Reply):
    """What one objective adds to a margin."""

    name: str
    chosen: float
    rejected: float
    chosen_coefficient: float
    rejected_coefficient: float
    contribution: float


class ComparisonOut(Reply):
    """Why one response scores higher than another."""

    chosen: int = Field(description="Place of the first response in `results`.")
    rejected: int = Field(description="Place of the other one.")
    chosen_score: float
    rejected_score: float
    margin: float
    probability: float | None = Field(description="Null under fixed weights.")
    differences: list[DifferenceOut] = Field(description="They add up to the margin.")
    deciding: list[str]
    words: str


class CompareReply(Reply):
    """Responses from the best to the worst, and why."""

    model: str
    id: str
    ranking: list[int] = Field(description="Places in `results`, the highest score first.")
    results: list[ExplanationOut]
    comparisons: list[ComparisonOut] = Field(
        description="Chosen against rejected; or the best response against each of the others."
    )


class ErrorDetail(Reply):
    """One mistake and its place."""

    where: str
    message: str


class ErrorContent(Reply):
    """What is wrong."""

    type: str
    message: str
    code: int
    details: list[ErrorDetail] = []


class ErrorReply(Reply):
    """The one form of every error."""

    error: ErrorContent
