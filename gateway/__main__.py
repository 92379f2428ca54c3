"""`python -m gateway` is `naru`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
