"""A scripted OAuth token endpoint with a model behind it, for tests of how credentials are refreshed."""
