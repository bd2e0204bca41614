"""Arrays alone: splits, heads, the open set and measures."""
