"""One declaration per vendor: what to ask, how to read the reply. Pure, no I/O."""
