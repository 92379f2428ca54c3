"""The vLLM engines that Naru owns: their commands, the check of their arguments, their start."""
