"""Settings, the tenant scope, and the things a settings value opens. Imports nothing of ours."""
