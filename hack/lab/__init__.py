"""The lab: real Kubernetes clusters without Docker, each in a network namespace of its own.

Standard library only: it runs on a bare Python 3.11 before any environment exists.
"""
