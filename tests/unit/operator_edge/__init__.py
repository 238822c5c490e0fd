"""The operator's edge: queue, lease, polling, writes."""
