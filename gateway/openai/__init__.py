"""The wire: structs of the OpenAI API and of ours; no I/O."""
