"""Administration of identity on behalf of a caller, within its role. No HTTP."""
