"""A loopback HTTP server that speaks the vendors' wire formats over one simulated market."""
