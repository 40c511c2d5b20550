"""What runs in the containers of a polecat pod: clone, keeper and the agent's wrapper.

Standard library and attrs only, so that the workload image stays small and starts fast.
"""
