"""Every test of the project, and the clusters that they need."""
