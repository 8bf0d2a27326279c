"""`hfseg benchmark`: one module per sub-command. `comparison` measures and reports for all."""
