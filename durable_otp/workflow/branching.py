"""``with workflow.branch(...)``: a choice between sequences, written as a block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from durable_otp.errors import DefinitionError, SerializationError
from durable_otp.workflow.json_form import canonical, encode
from durable_otp.workflow.nodes import Branch, Clause
from durable_otp.workflow.sequence import OpenSequences, Sequence
from durable_otp.workflow.step_function import takes_context

DEFAULT = "default"


class BranchBlock:
    """A branch while its clauses are written; ``case`` and ``default`` open one each."""

    def __init__(
        self, name: str, prefix: str, on: Callable[..., Any], open_in: OpenSequences
    ) -> None:
        self._name = name
        self._subject = f"Branch {prefix + name!r} of {open_in.subject}"
        self._path = prefix + name
        self._on = on
        self._takes_context = takes_context(on, f"{self._subject}: the function it chooses by")
        self._open = open_in
        self._clauses: list[Clause] = []

    @contextmanager
    def case(self, *values: Any) -> Iterator[None]:
        """Add the steps inside to the sequence for these values.

        Raises:
            DefinitionError: A value is not JSON, or taken; or no steps follow.
        """
        if not values:
            raise DefinitionError(f"{self._subject}: case() needs at least one value.")
        forms = tuple(self._form(value) for value in values)
        taken = {encode(each) for clause in self._clauses for each in clause.values}
        texts = [encode(form) for form in forms]
        if len(set(texts)) < len(texts) or taken.intersection(texts):
            raise DefinitionError(f"{self._subject}: case{values!r} repeats a value.")
        label = forms[0] if isinstance(forms[0], str) else encode(forms[0]).decode()
        with self._clause(label, forms):
            yield

    @contextmanager
    def default(self) -> Iterator[None]:
        """Add the steps inside to the sequence for all other values.

        Raises:
            DefinitionError: There is a default already; or no steps follow.
        """
        if any(clause.is_default for clause in self._clauses):
            raise DefinitionError(f"{self._subject} has two defaults; leave one out.")
        with self._clause(DEFAULT, ()):
            yield

    def finished(self) -> Branch:
        """Return the branch as it is run; raise DefinitionError if it has no clauses."""
        if not self._clauses:
            raise DefinitionError(f"{self._subject} is empty; give it a case.")
        return Branch(self._name, self._path, self._on, tuple(self._clauses), self._takes_context)

    @contextmanager
    def _clause(self, label: str, values: tuple[Any, ...]) -> Iterator[None]:
        subject = f"{self._subject}, case {label!r}"
        if any(clause.label == label for clause in self._clauses):
            raise DefinitionError(f"{subject}: another case is called so; give its values first.")
        sequence = Sequence(subject, f"{self._path}/{label}/")
        with self._open.inside(sequence):
            yield
        if not sequence.nodes:
            raise DefinitionError(f"{subject} is empty; give it a step.")
        self._clauses.append(Clause(label, values, tuple(sequence.nodes)))

    def _form(self, value: Any) -> Any:
        try:
            return canonical(value, what=f"{self._subject}: a case's value")
        except SerializationError as error:
            raise DefinitionError(str(error)) from None
