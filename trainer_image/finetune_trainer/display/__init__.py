"""What a person sees on a terminal: progress to stderr, results to stdout."""
