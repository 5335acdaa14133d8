"""What was learned, kept in SQLite and viewed as a graph."""
