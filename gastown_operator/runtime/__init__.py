"""A controller runtime for Kubernetes on asyncio, modelled on controller-runtime; docs/runtime.md shows how to use it.

Import from its modules: `manager` and `controller` to run something, `plan` and `execution` to write, `objects` and `store` to read.
Nothing is imported here, so that a program that needs one of them does not pay for all.
"""
