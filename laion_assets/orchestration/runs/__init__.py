"""The engine room: what is built next, in which runs, and how it went."""
