"""What everything rests on: errors, escaping, the console, signals."""
