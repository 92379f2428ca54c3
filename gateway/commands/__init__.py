"""What the `naru` commands do, apart from reading arguments and printing."""
