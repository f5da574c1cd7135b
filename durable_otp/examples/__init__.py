"""The workflows of ``durable-otp demo``: small, complete, and written as users write theirs."""
