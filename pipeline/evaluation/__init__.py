"""How well it works: measures, plots, and what people say is true."""
