"""The context a step works on: JSON values by key, whose changes are kept all or not at all."""

import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from durable_otp.workflow.delta import Operation, fold, merged
from durable_otp.workflow.json_form import MAX_BYTES, canonical, encode, in_key_order, is_plain
from durable_otp.workflow.results import Result, Results

_ABSENT: Any = object()


class Context(MutableMapping[str, Any]):
    """One attempt's view of its execution.

    Values are brought to their JSON form when they are set. What is read may be changed in place:
    ``changes()`` compares with what was there before. The mapping handed in is never changed, so
    an attempt that fails or suspends leaves no trace.

    Attributes:
        input: The execution's input, as the workflow's ``input`` type where it has one.
        execution_id: The execution's id.
        workflow: The workflow's name.
        step: The name of the step that runs.
        attempt: 1 for the first attempt of this visit.
        idempotency_key: The same for every attempt of this visit, and for no other.
        results: The results of the latest parallel or each block, by name: `Ok` or `Err`, a list
            of them after an each.
    """

    def __init__(  # noqa: PLR0913 - the facts of one attempt, all by keyword
        self,
        values: Mapping[str, Any],
        *,
        input: Any,  # noqa: A002 - the contract's name
        execution_id: str,
        workflow: str,
        step: str,
        attempt: int = 1,
        idempotency_key: str = "",
        results: Mapping[str, Result | list[Result]] | None = None,
        max_payload: int = MAX_BYTES,
    ) -> None:
        self.input = input
        self.execution_id = execution_id
        self.workflow = workflow
        self.step = step
        self.attempt = attempt
        self.idempotency_key = idempotency_key
        self.results: Results = dict(results or {})
        self._before = values
        self._now: dict[str, Any] = dict(values)
        self._touched: set[str] = set()  # may differ from before: read and mutable, or written
        self._settled: set[str] = set()  # given when the body was over: in its JSON form for good
        self._written: set[str] = set()  # set or deleted: one "set" will say it
        self._said: dict[str, list[Operation]] = {}
        self._max_payload = max_payload

    def __getitem__(self, key: str) -> Any:
        value = self._now[key]
        if isinstance(value, list | dict) and (key not in self._touched or key in self._settled):
            value = self._now[key] = _copy(value)
            self._touched.add(key)
            self._settled.discard(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._now[_checked(key)] = self._form(key, value)
        self._rewritten(key)

    def __delitem__(self, key: str) -> None:
        del self._now[key]
        self._rewritten(key)

    def __iter__(self) -> Iterator[str]:
        return iter(in_key_order(self._now))

    def __len__(self) -> int:
        return len(self._now)

    def __contains__(self, key: object) -> bool:
        return key in self._now

    def __repr__(self) -> str:
        return f"Context({dict(self)!r})"

    def append(self, key: str, item: Any) -> None:
        """Add an item to the list under ``key``; a missing key starts an empty list.

        Raises:
            TypeError: The key holds something else.
        """
        value = self[key] if key in self._now else self._now.setdefault(_checked(key), [])
        if not isinstance(value, list):
            raise TypeError(f"ctx.append({key!r}, ...) needs a list there, not {value!r:.80}.")
        form = self._form(key, item)
        value.append(form)
        self._say("append", key, _copy(form))

    def increment(self, key: str, by: float = 1) -> int | float:
        """Add a number to the one under ``key``, 0 if it is missing, and return the sum.

        Raises:
            TypeError: The key holds something else, or ``by`` is not a number.
        """
        value = self._now.get(key, 0)
        for operand in (value, by):
            if isinstance(operand, bool) or not isinstance(operand, int | float):
                raise TypeError(f"ctx.increment({key!r}, ...) needs numbers, not {operand!r:.80}.")
        by = self._form(key, by)
        total: int | float = self._form(key, value + by)
        self._now[_checked(key)] = total
        self._say("increment", key, by)
        return total

    def merge(self, mapping: Mapping[str, Any]) -> None:
        """Merge a mapping in, deeply: objects key by key, anything else replaced."""
        for key, change in self._form_of_mapping(mapping).items():
            self[key] = merged(self._now.get(key), change)

    def settle(self, form: Mapping[str, Any]) -> None:
        """Set keys to values that are in their JSON form, and that nobody else will change."""
        for key, value in form.items():
            self._now[key] = value
            self._rewritten(key)
            self._settled.add(key)

    def changes(self) -> list[Operation]:
        """Return the fewest operations that make the context before into the context now.

        Raises:
            SerializationError: A value that was changed in place has no JSON form any more.
        """
        return [
            operation
            for key in in_key_order(dict.fromkeys(self._touched))
            for operation in self._changes_of(key)
        ]

    def _changes_of(self, key: str) -> list[Operation]:
        before = self._before.get(key, _ABSENT)
        now = self._now.get(key, _ABSENT)
        if now is _ABSENT:
            return [] if before is _ABSENT else [["delete", key]]
        if key not in self._settled:
            now = self._form(key, now)
        if before is not _ABSENT and encode(before) == encode(now):
            return []
        said = self._said.get(key)
        if said and encode(fold(_only(key, before), said)[key]) == encode(now):
            return said if len(said) == 1 or isinstance(now, list) else [["set", key, now]]
        if _begins_with(now, before):
            return [["append", key, item] for item in now[len(before) :]]
        return [["set", key, now]]

    def _rewritten(self, key: str) -> None:
        self._touched.add(key)
        self._settled.discard(key)
        self._written.add(key)
        self._said.pop(key, None)

    def _say(self, name: str, key: str, operand: Any) -> None:
        self._touched.add(key)
        self._settled.discard(key)
        if key not in self._written:
            self._said.setdefault(key, []).append([name, key, operand])

    def _form(self, key: str, value: Any) -> Any:
        if is_plain(value, self._max_payload):
            return value
        return canonical(value, what=_place(key), max_bytes=self._max_payload)

    def _form_of_mapping(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(mapping, Mapping):
            raise TypeError(f"ctx.merge needs a mapping, not {mapping!r:.80}.")
        form: dict[str, Any] = canonical(mapping, what="context", max_bytes=self._max_payload)
        return form


def _checked(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"A key of the context must be a string, not {key!r}.")
    if not is_plain(key):
        canonical(key, what=_place(key))
    return key


def _place(key: str) -> str:
    return f"context[{json.dumps(key)}]"


def _copy(value: Any) -> Any:
    """Return a copy of canonical JSON that shares no list and no dict with it."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _only(key: str, value: Any) -> dict[str, Any]:
    return {} if value is _ABSENT else {key: value}


def _begins_with(now: Any, before: Any) -> bool:
    return (
        isinstance(now, list)
        and isinstance(before, list)
        and bool(before)
        and encode(now[: len(before)]) == encode(before)
    )
