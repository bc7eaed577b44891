"""Many runs: points, groups of them in one program, launchers, tables."""
