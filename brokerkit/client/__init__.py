"""What a caller does: send, wait, ask, look and cancel, with async or without."""
