"""Every table's declaration: all that is known of it, in one place."""
