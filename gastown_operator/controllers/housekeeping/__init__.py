"""The housekeeping controller: has the refs of polecats that are long gone removed from the git server."""
