"""Runs Gas Town's coding agents as Pods in Kubernetes."""

__version__ = "0.5.0"
