"""Schemas of bodies for the OpenAPI document, from what decodes and encodes them."""

import inspect
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.datastructures import UploadFile
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin

if TYPE_CHECKING:
    from litestar._openapi.schema_generation import SchemaCreator
    from litestar.typing import FieldDefinition

_AT = "#/components/schemas/{name}"


class _Pointer(Schema):
    """A reference; the framework wants one that it made itself, or a schema."""

    target: str

    def to_schema(self) -> dict[str, Any]:
        return {"$ref": self.target}


class StructSchemas(OpenAPISchemaPlugin):
    """Has msgspec describe its types: the framework loses most bounds, and that a type is closed.

    Names depend on all types together, two of which may share one, so references are filled in
    at the end.
    """

    def __init__(self) -> None:
        self._pointers: list[tuple[Any, _Pointer]] = []

    def is_plugin_supported_field(self, field_definition: "FieldDefinition") -> bool:
        """Tell whether this is a msgspec type."""
        return not field_definition.is_union and field_definition.is_subclass_of(msgspec.Struct)

    def to_openapi_schema(
        self, field_definition: "FieldDefinition", schema_creator: "SchemaCreator"
    ) -> Schema:
        """Return a reference, which leads nowhere until `components` is called."""
        del schema_creator
        pointer = _Pointer()
        self._pointers.append((field_definition.annotation, pointer))
        return pointer

    def components(self) -> dict[str, Any]:
        """Return the schemas of all types that were referred to, by their names."""
        kinds = [kind for kind, _ in self._pointers]
        references, components = msgspec.json.schema_components(
            kinds, schema_hook=_foreign, ref_template=_AT
        )
        for (_, pointer), reference in zip(self._pointers, references, strict=True):
            pointer.target = reference["$ref"]
        for schema in components.values():
            schema["description"] = inspect.cleandoc(schema.get("description", ""))
        return components


def _foreign(kind: type) -> dict[str, Any]:
    """Return the schema of a type that is not msgspec's."""
    if issubclass(kind, UploadFile):
        return {"type": "string", "format": "binary"}
    raise NotImplementedError
