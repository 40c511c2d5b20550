"""A model server that follows a script: lets the real Claude Code work without a provider."""
