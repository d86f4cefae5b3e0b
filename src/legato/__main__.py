"""`python -m legato` is the command line."""

from legato.cli.main import main

if __name__ == "__main__":
    main()
