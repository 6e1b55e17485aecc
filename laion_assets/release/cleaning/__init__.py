"""Taking what a removals feed lists out of a copy of a release: with neither the lake nor a model at hand."""
