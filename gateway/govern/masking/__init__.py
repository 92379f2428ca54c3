"""Personal data in what goes out, is stored, logged or answered: found, and hidden by policy."""
