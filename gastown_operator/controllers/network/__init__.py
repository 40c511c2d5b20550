"""The network controller: a NetworkPolicy for each rig in each namespace where its polecats may run, and a wall for the rest."""
