"""The credential controller: mirrors the named Secrets to where rigs work, and keeps OAuth access tokens fresh."""
