"""The polecat controller: one agent, one issue, one pod at a time, until its commit is proven on the remote."""
