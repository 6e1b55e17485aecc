"""What is published of a lake: folders of pairs that the field's own tools read, with the removals that reach them."""
