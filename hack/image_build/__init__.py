"""Builds the project's container images with buildah, without a container engine or a registry."""
