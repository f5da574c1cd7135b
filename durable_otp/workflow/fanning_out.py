"""``with workflow.parallel(...)`` and ``@workflow.each(...)``: what runs side by side.

A `Workflow` inherits both from here; each node in a parallel block, and each item of an each, will
be a durable child.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from durable_otp.errors import DefinitionError
from durable_otp.workflow.nodes import Each, OnError, Parallel
from durable_otp.workflow.options import (
    check_count,
    check_name,
    check_node_name,
    check_queue,
    check_retry,
    check_timeout,
)
from durable_otp.workflow.retry import Retry
from durable_otp.workflow.sequence import OpenSequences, Sequence
from durable_otp.workflow.step_function import is_async, name_of, takes_all, takes_context

Function = TypeVar("Function", bound=Callable[..., Any])

ON_ERROR: tuple[OnError, ...] = ("fail_fast", "complete_all")
INTO_FORMS = (("ctx", "results"),)
EACH_FORMS = (("ctx", "item"), ("ctx", "item", "index"))


class ParallelBlock:
    """A parallel block while it is written; ``into`` says what becomes of the results."""

    def __init__(
        self,
        node: Parallel,
        chosen: OnError | None,
        open_in: OpenSequences,
        check_open: Callable[[str], None],
    ) -> None:
        self._node = node
        self._subject = f"Parallel block {node.path!r} of {open_in.subject}"
        self._chosen = chosen
        self._open = open_in
        self._check_open = check_open
        self._lies_in: Sequence | None = None

    def into(self, function: Function) -> Function:
        """Have ``f(ctx, results)`` run as a step when every child has ended.

        Raises:
            DefinitionError: It cannot be run as written, the block has one already, or what the
                block lies in is closed.
        """
        subject = f"{self._subject}: into"
        self._check_open(subject)
        if self._node.into is not None:
            raise DefinitionError(f"{subject} is given twice; leave one out.")
        if self._lies_in is not None and not self._open.is_open(self._lies_in):
            raise DefinitionError(
                f"{subject} comes too late: {self._lies_in.subject} is closed; indent it."
            )
        takes_all(function, INTO_FORMS, subject)
        changed = replace(
            self._node,
            into=function,
            is_async=is_async(function),
            on_error=self._chosen or "complete_all",
        )
        if self._lies_in is not None:
            self._lies_in.replace(self._node, changed)
        self._node = changed
        return function

    def finished(self, inner: Sequence, lies_in: Sequence) -> Parallel:
        """Return the block as it is run, ``into`` excepted, which may follow.

        Raises:
            DefinitionError: It is empty, or two results have one name.
        """
        if not inner.nodes:
            raise DefinitionError(f"{self._subject} is empty; give it a step.")
        node = replace(self._node, nodes=tuple(inner.nodes))
        keys = [node.result_key(each) for each in node.nodes]
        for key in keys:
            if keys.count(key) > 1:
                raise DefinitionError(
                    f"{self._subject} has two results called {key!r}; give one of the two steps "
                    "another name or returns."
                )
        self._node, self._lies_in = node, lies_in
        return node


class FanningOut:
    """The part of a `Workflow` that adds parallel and each blocks."""

    retry: Retry | None
    _open: OpenSequences
    _subject: str

    def _check_open(self, subject: str) -> None:
        raise NotImplementedError

    @contextmanager
    def parallel(
        self,
        name: str | None = None,
        on_error: OnError | None = None,
        max_concurrency: int | None = None,
    ) -> Iterator[ParallelBlock]:
        """Run the nodes inside side by side, each as a durable child, on any worker.

        Args:
            name: The block's name; ``parallel_1`` and so on by default.
            on_error: ``"fail_fast"``: the first failure cancels the other children and fails the
                execution; the default without ``into``. ``"complete_all"``: an error is a result
                like the others; the default with ``into``.
            max_concurrency: How many children may run at once; all by default.

        Raises:
            DefinitionError: The block is empty or cannot be run as written.
        """
        self._check_open("A parallel block")
        outer = self._open.innermost
        block_name = outer.block_name("parallel") if name is None else name
        check_node_name(block_name, f"{self._subject}: the name of a parallel block")
        path = outer.prefix + block_name
        subject = f"Parallel block {path!r} of {self._open.subject}"
        chosen = None if on_error is None else _checked_on_error(on_error, subject)
        node = Parallel(
            name=block_name,
            path=path,
            nodes=(),
            on_error=chosen or "fail_fast",
            max_concurrency=_checked_concurrency(max_concurrency, subject),
            retry=self.retry or Retry(),
        )
        block = ParallelBlock(node, chosen, self._open, self._check_open)
        inner = Sequence(subject, f"{path}/")
        with self._open.inside(inner):
            yield block
        outer.add(block_name, lambda _: block.finished(inner, outer))

    def each(  # noqa: PLR0913 - the contract's options, most by keyword
        self,
        items: str | Callable[..., Any],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        on_error: OnError = "fail_fast",
        queue: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
    ) -> Callable[[Function], Function]:
        """Run a function for each item of a list, each as a durable child, on any worker.

        The list of what the children returned, in the order of the items, is kept under its name.

        Args:
            items: The context key of the list, or ``f(ctx)`` that returns it.
            name: The node's name; the function's by default.
            max_concurrency: How many children may run at once; all by default.
            on_error: ``"fail_fast"``: the first failure cancels the other children and fails the
                execution. ``"complete_all"``: the list has a pair for each child, ``["ok", value]``
                or ``["error", error]``.
            queue: The queue whose workers run the children; the execution's by default.
            retry: Each child's retry policy; the workflow's by default.
            timeout: How long one run of the function may take, waiting excluded.

        Raises:
            DefinitionError: It cannot be run as written.
        """

        def add(function: Function) -> Function:
            node_name = name_of(function, self._subject) if name is None else name
            subject = f"Each {node_name!r} of {self._open.subject}"
            check_node_name(node_name, f"{subject}: name")
            self._check_open(subject)
            arguments = takes_all(function, EACH_FORMS, subject)
            node = Each(
                name=node_name,
                path="",
                items=_checked_items(items, subject),
                function=function,
                on_error=_checked_on_error(on_error, subject),
                max_concurrency=_checked_concurrency(max_concurrency, subject),
                queue=None if queue is None else check_queue(queue, subject),
                retry=check_retry(retry, subject) or self.retry or Retry(),
                timeout=check_timeout(timeout, subject),
                takes_index=arguments == len(EACH_FORMS[-1]),
                is_async=is_async(function),
                items_take_context=callable(items) and takes_context(items, f"{subject}: items"),
                items_are_async=is_async(items) if callable(items) else False,
            )
            self._open.innermost.add(node_name, lambda path: replace(node, path=path))
            return function

        return add


def _checked_items(items: Any, subject: str) -> str | Callable[..., Any]:
    if isinstance(items, str):
        return check_name(items, f"{subject}: the context key of its items")
    if callable(items):
        found: Callable[..., Any] = items
        return found
    raise DefinitionError(
        f"{subject}: items must be a context key or a function that returns a list, not {items!r}."
    )


def _checked_on_error(value: Any, subject: str) -> OnError:
    for each in ON_ERROR:
        if value == each:
            return each
    raise DefinitionError(
        f'{subject}: on_error must be "fail_fast" or "complete_all", not {value!r}.'
    )


def _checked_concurrency(value: int | None, subject: str) -> int | None:
    if value is None:
        return None
    most = 2**31 - 1
    if check_count(value, f"{subject}: max_concurrency", least=1) > most:
        raise DefinitionError(f"{subject}: max_concurrency {value} does not fit in 32 bits.")
    return value
