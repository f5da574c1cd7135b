"""Importing the workflow modules of a configuration in a process of their own.

Whatever they do there (print, crash, start threads, leave by ``sys.exit``) stays there; what
comes back is the list of their workflows, or one sentence.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from durable_otp.errors import ConfigError, DefinitionError, DurableError
from durable_otp.otp import program
from durable_otp.storage.payloads import Codecs
from durable_otp.workflow.registry import Registry


@dataclass(frozen=True)
class FoundWorkflow:
    """A workflow that a module defines."""

    name: str
    version: str
    queue: str
    steps: int


def found_workflows(
    modules: Sequence[str], paths: Sequence[str], codecs: Sequence[str] = ()
) -> list[FoundWorkflow]:
    """Return the workflows that modules define.

    Args:
        modules: Their names, as a configuration lists them.
        paths: Where modules are looked for before anywhere else.
        codecs: The names of codecs, which are imported as well.

    Raises:
        ConfigError: A module cannot be imported, or holds no workflow, or a codec is none.
        DefinitionError: A workflow is wrong, or defined twice.
    """
    if not modules and not codecs:
        return []
    with tempfile.TemporaryDirectory(prefix="durable-otp-") as directory:
        answer = Path(directory) / "answer.json"
        asked = {"modules": [*modules], "paths": [*paths], "codecs": [*codecs]}
        question = json.dumps(asked | {"cwd": str(Path.cwd())})
        ended = program.run(
            [sys.executable, "-P", "-m", "durable_otp.cli.imports", str(answer), question],
            environment=os.environ,
        )
        if not answer.exists():
            raise ConfigError(_crashed(ended, modules))
        found = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        raise (DefinitionError if found["is_definition"] else ConfigError)(found["error"])
    return [FoundWorkflow(**each) for each in found["workflows"]]


def main(answer: Path, question: str) -> None:
    """Import what is asked for and write down what was found."""
    asked = json.loads(question)
    os.chdir(asked["cwd"])
    sys.path[:0] = asked["paths"]
    registry = Registry()
    try:
        registry.load(asked["modules"])
        Codecs(asked["codecs"]).known()
    except DurableError as error:
        is_definition = isinstance(error, DefinitionError)
        _write(answer, {"error": str(error), "is_definition": is_definition})
        return
    definitions = [registry.get(name, version) for name, version in registry.known()]
    found = [FoundWorkflow(d.name, d.version, d.queue, len(d.nodes)) for d in definitions]
    _write(answer, {"workflows": [asdict(each) for each in found]})


def _write(answer: Path, value: object) -> None:
    unfinished = answer.with_suffix(".part")
    unfinished.write_text(json.dumps(value), encoding="utf-8")
    unfinished.rename(answer)


def _crashed(ended: program.Finished, modules: Sequence[str]) -> str:
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
    last = (ended.output.strip().splitlines() or ["it printed nothing"])[-1].strip()
    return f"Importing {', '.join(modules)} ended the process with {how}: {last}."


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    os._exit(0)  # a thread that a module started must not keep this process
