from durable_otp.testing.inline import run_inline as run_inline
from durable_otp.testing.tester import WorkflowTester as WorkflowTester

__all__ = ["WorkflowTester", "run_inline"]
