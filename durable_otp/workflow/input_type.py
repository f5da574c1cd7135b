"""A workflow's ``input`` type: checked once at the start, read back in every worker.

The database keeps the JSON form; a worker makes the model from it again. So a value is accepted
only if it comes back as it was: a validator that changes its own result would otherwise work at
the start and do something else in the worker.
"""

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic_core import ValidationError

from durable_otp.errors import DefinitionError, InvalidInput, SerializationError
from durable_otp.workflow.json_form import MAX_BYTES, canonical, encode

if TYPE_CHECKING:  # dear to import, and not needed by workflows without a type
    from pydantic import TypeAdapter

LONGEST_SCHEMA = 64 * 1024
"""Bytes of JSON; a type that takes more to describe is shown as any JSON."""


def check_type(input_type: Any, subject: str, *, complete: bool = False) -> None:
    """Raise ``DefinitionError`` for what pydantic cannot validate.

    Args:
        input_type: The type; None accepts everything.
        subject: Whose it is, for the message.
        complete: Whether every name in it must be defined by now.
    """
    if input_type is None:
        return
    from pydantic.errors import PydanticUserError  # noqa: PLC0415 - as above

    try:
        if isinstance(input_type, str):
            raise TypeError(f"{input_type!r} is a string")  # noqa: TRY301 - one sentence for all
        adapter = _adapter(input_type)
        if complete and not adapter.pydantic_complete:
            adapter.rebuild(raise_errors=True)
    except (PydanticUserError, TypeError, NameError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DefinitionError(
            f"{subject}: input must be a type that pydantic can validate: {reason}."
        ) from error


def validate(
    input_type: Any, value: Any, *, workflow: str, max_bytes: int = MAX_BYTES
) -> tuple[Any, Any]:
    """Return a workflow's input as its type and in its JSON form.

    Raises:
        InvalidInput: It does not fit the type; the cause is pydantic's error.
        SerializationError: It has no JSON form.
    """
    if input_type is None:
        plain = canonical(value, what="input", max_bytes=max_bytes)
        return plain, plain
    adapter = _adapter(input_type)
    try:
        typed = adapter.validate_python(value)
    except ValidationError as error:
        raise InvalidInput(
            f"The input of workflow {workflow!r} is invalid: {_sentence(error)}."
        ) from error
    form = _form(adapter, typed, max_bytes)
    return _read_back(adapter, form, workflow), form


def restore(input_type: Any, form: Any, *, workflow: str) -> Any:
    """Return a stored input as its type again.

    Raises:
        InvalidInput: The type has changed since and refuses it.
    """
    if input_type is None:
        return form
    try:
        return _adapter(input_type).validate_json(encode(form), by_alias=True, by_name=True)
    except ValidationError as error:
        raise InvalidInput(
            f"The stored input of workflow {workflow!r} does not fit its type any more: "
            f"{_sentence(error)}."
        ) from error


def json_schema(input_type: Any) -> dict[str, Any] | None:
    """Return the JSON schema of a type's stored form, for those who cannot import it.

    Its fields have the names that ``Execution.input`` shows; ``x-order`` names those of an object
    in the order of the type, which jsonb does not keep. None where a type has no schema that can
    be written down.
    """
    if input_type is None:
        return None
    try:
        return _cached_schema(input_type)
    except TypeError:  # as below
        return _new_schema(input_type)


@lru_cache(maxsize=256)
def _cached_schema(input_type: Any) -> dict[str, Any] | None:
    return _new_schema(input_type)


def _new_schema(input_type: Any) -> dict[str, Any] | None:
    from pydantic.errors import PydanticUserError  # noqa: PLC0415 - as above

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a default without a JSON form is left out
            schema = _adapter(input_type).json_schema(by_alias=False)
        ordered = _ordered(schema)
        form: dict[str, Any] = canonical(ordered, what="schema", max_bytes=LONGEST_SCHEMA)
    except (PydanticUserError, SerializationError, ValueError, KeyError, RecursionError):
        return None
    return form


def _ordered(schema: Any) -> Any:
    """Return a schema in which every object says the order of its properties."""
    if isinstance(schema, list):
        return [_ordered(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _ordered(each) for key, each in schema.items()}
    properties = schema.get("properties")
    is_object = schema.get("type") == "object" and isinstance(properties, dict)
    return found | {"x-order": list(properties)} if is_object and properties else found


def _read_back(adapter: "TypeAdapter[Any]", form: Any, workflow: str) -> Any:
    try:
        again = adapter.validate_json(encode(form), by_alias=True, by_name=True)
    except ValidationError as error:
        raise InvalidInput(
            f"The input of workflow {workflow!r} cannot be read back from its JSON form: "
            f"{_sentence(error)}."
        ) from error
    if encode(_form(adapter, again, None)) != encode(form):
        raise InvalidInput(
            f"The input of workflow {workflow!r} changes when it is read back from its JSON form; "
            "make its validators idempotent and its bytes fields text."
        )
    return again


def _form(adapter: "TypeAdapter[Any]", typed: Any, max_bytes: int | None) -> Any:
    fields = adapter.dump_python(typed, round_trip=True, warnings=False)
    return canonical(fields, what="input", max_bytes=max_bytes or 2**62)


def _adapter(input_type: Any) -> "TypeAdapter[Any]":
    try:
        return _cached_adapter(input_type)
    except TypeError:  # a type may be unhashable: Annotated[int, [...]]
        return _new_adapter(input_type)


@lru_cache(maxsize=256)
def _cached_adapter(input_type: Any) -> "TypeAdapter[Any]":
    return _new_adapter(input_type)


def _new_adapter(input_type: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter  # noqa: PLC0415 - as above

    return TypeAdapter(input_type)


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {first['msg']}{more}" if place else f"{first['msg']}{more}"
