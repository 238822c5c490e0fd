"""report.html: what a run did to the model, to be read by a person."""
