"""Faults on purpose, and what becomes of a lake after them.

``ground`` builds one undisturbed lake. A point (``points``) copies it, lets one kind of fault (``kinds``) happen where
its seed says, and judges: what is said is one line that says what to do, ``laion verify`` finds all and only
what is broken, and once the advice is followed the rows are those of the undisturbed lake. ``python -m tests.faults``
runs as many points as it is asked for, and ``--write`` puts what came of them into docs/design/recovery.md.
"""
