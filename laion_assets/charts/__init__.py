"""Every chart once, for Dagster's pages and for the reports."""
