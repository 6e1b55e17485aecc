"""Tars as webdataset has them: one reader, one writer, and what a member's name says."""
