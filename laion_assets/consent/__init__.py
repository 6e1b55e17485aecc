"""Who said no: requests of removal, deny lists, opting out by an answer's headers."""
