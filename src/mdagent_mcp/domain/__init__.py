"""The nouns of market data: frozen, standard library only."""
