"""Models on the wire. OpenAI API reference, `/v1/models`."""

from typing import Literal

import msgspec


class ModelObject(msgspec.Struct):
    """A model, an alias or an agent: whatever `model` may name."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct):
    """What `GET /v1/models` answers."""

    data: list[ModelObject]
    object: Literal["list"] = "list"
