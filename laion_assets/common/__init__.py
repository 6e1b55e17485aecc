"""Mechanisms that every room may use, each once; they know nothing of ours."""
