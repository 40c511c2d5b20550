"""One adapter per coding agent: what a container must be so that the agent does one task and ends."""
