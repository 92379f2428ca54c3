"""What every section of the settings is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the settings: unknown names are refused, values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
