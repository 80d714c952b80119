"""What the nodes of a cluster know of each other, and what they do together: the parts that stand on sessions."""
