"""Questions about people, the most useful first, for somebody who corrects thousands of faces."""
