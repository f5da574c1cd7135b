"""What is printed and logged in a shared process is its writer's, or nobody's."""

import contextvars
import io
import logging
import os
import subprocess
import sys
import threading

import pytest

from durable_otp.runtime.thread_output import SharedStreams, ThreadOutput


@pytest.fixture
def streams(monkeypatch):
    """The streams of a process, given back afterwards; descriptors 1 and 2 are the tests' own."""
    root = logging.getLogger()
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    ours = logging.getLogger("durable_otp")
    monkeypatch.setattr(ours, "handlers", list(ours.handlers))
    monkeypatch.setattr(ours, "propagate", ours.propagate)
    return SharedStreams()


@pytest.fixture
def outputs(streams):
    files = [os.memfd_create(f"output {number}") for number in range(2)]
    yield [ThreadOutput(streams, os.getpid(), file, 1000) for file in files]
    for file in files:
        os.close(file)


def in_thread(work) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def said(output: ThreadOutput) -> list[str]:
    return [entry["message"] for entry in output.captured()]


def test_each_thread_writes_to_its_own_file(outputs):
    both = threading.Barrier(2)

    def work(number: int) -> None:
        outputs[number].start()
        for line in range(50):
            print(number, line)
        both.wait(20)
        logging.getLogger("shop").warning("logged by %d", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, output in enumerate(outputs):
        assert said(output) == [f"{number} {line}" for line in range(50)] + [f"logged by {number}"]


def test_a_copy_of_the_context_and_a_given_stream_are_the_writers(outputs):
    def work() -> None:
        outputs[0].start()
        in_thread(lambda: print("nobody's", file=sys.stderr))
        context = contextvars.copy_context()
        in_thread(lambda: context.run(print, "helper's"))
        subprocess.run(["echo", "child's"], stdout=sys.stdout, check=True)

    in_thread(work)
    assert said(outputs[0]) == ["helper's", "child's"]
    assert said(outputs[1]) == []


def test_a_step_that_spoils_the_streams_spoils_them_for_nobody(outputs):
    def spoil() -> None:
        outputs[0].start()
        sys.stdout.close()
        sys.stdout.buffer.close()
        sys.stderr = io.StringIO()

    def work() -> None:
        for output in outputs:
            output.start()
            print("out")
            print("err", file=sys.stderr)

    in_thread(spoil)
    in_thread(work)
    assert [said(output) for output in outputs] == [["out", "err"]] * 2
