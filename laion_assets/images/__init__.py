"""Picture files: what they say of themselves, what their parts are, and their pixels as a browser shows them."""
