"""Groups faces into people: pure computation on arrays, no Ray, no storage."""
