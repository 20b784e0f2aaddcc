"""What every room may know and that knows no room: tables, settings, errors, hours, how late things may come."""
