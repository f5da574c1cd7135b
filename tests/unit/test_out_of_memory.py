"""Whether the kernel has killed for lack of memory is read off its own count."""

from pathlib import Path

from durable_otp.runtime.out_of_memory import OutOfMemory


def test_it_has_struck_when_the_count_has_grown_since_the_last_look(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 7\noom_kill 3\noom_kill_other 9\n")
    memory = OutOfMemory(counters)
    assert not memory.has_struck()
    counters.write_text("nr_free_pages 7\noom_kill 5\noom_kill_other 9\n")
    assert memory.has_struck()
    assert not memory.has_struck()


def test_a_kernel_that_does_not_say_is_not_asked_again_and_again(tmp_path: Path) -> None:
    assert not OutOfMemory(tmp_path / "none").has_struck()
    (tmp_path / "vmstat").write_text("nr_free_pages 7\n")
    assert not OutOfMemory(tmp_path / "vmstat").has_struck()
