"""One package per kind: observe (what is), plan (what to do, pure), and the objects it builds."""
