"""Where pieces are swept: one tree, or one client process, kept from piece to piece."""

from collections.abc import Hashable
from contextlib import ExitStack
from typing import cast

from tests.crash.scenarios import Scenario
from tests.crash.site import Site, site
from tests.crash.verb_sweep import VerbSite, verb_site
from tests.support.postgres import fresh_schema

VERB = "verb"
"""In the place of how a queue commits: no queue takes part."""


class Ground:
    """At most one site at a time, each on a schema of its own; making one takes longer than a run.

    Args:
        dsn: The database.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._kind: Hashable = None
        self._site: Site | VerbSite | None = None
        self._stack = ExitStack()

    def tree(self, scenario: Scenario, commit: str, *, is_quiet: bool = False) -> Site:
        """Give a tree that a scenario can run on: the last one's if it fits."""
        kind = (commit, is_quiet, scenario.settings)
        if self._kind != kind:
            self.leave()
            schema = self._stack.enter_context(fresh_schema(self._dsn))
            made = site(self._dsn, schema, commit, is_quiet=is_quiet, **dict(scenario.settings))
            self._site, self._kind = self._stack.enter_context(made), kind
        return cast(Site, self._site)

    def client(self) -> VerbSite:
        """Give a schema without a tree, and a client."""
        if self._kind != VERB:
            self.leave()
            schema = self._stack.enter_context(fresh_schema(self._dsn))
            made = verb_site(self._dsn, schema)
            self._site, self._kind = self._stack.enter_context(made), VERB
        return cast(VerbSite, self._site)

    def leave(self) -> None:
        """Take down what there is: at the end, or because it cannot be trusted any more."""
        self._kind = self._site = None
        self._stack.close()
