"""The trainer: measure, fine-tune, measure again on the same queries, and leave model and report in storage."""
