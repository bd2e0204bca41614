"""Networks that map aligned faces to features, and how the input of each is made."""
