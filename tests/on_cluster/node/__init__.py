"""Scenarios on a real node, side by side in namespaces of their own, as a user meets them through kubectl."""
