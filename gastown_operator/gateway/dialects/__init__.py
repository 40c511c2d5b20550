"""What each model API says: one module per API, all of them tables and pure functions over decoded JSON."""
