"""Mutation tests of what protects us from known pitfalls: each guard is removed in a copy, and its tests must fail there."""
