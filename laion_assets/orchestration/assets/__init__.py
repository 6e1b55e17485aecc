"""The assets: one function per table, one file per stage of the flow. No algorithm lives here."""
