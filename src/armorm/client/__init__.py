"""Scores of a server as if the model were here: a client that waits, or one that is awaited."""

from armorm.client.asynchronous import AsyncClient
from armorm.client.client import Client
from armorm.client.plan import ServerError
from armorm.client.replies import ModelInfo, ScoredRow

__all__ = ["AsyncClient", "Client", "ModelInfo", "ScoredRow", "ServerError"]
