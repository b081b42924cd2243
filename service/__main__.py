"""`python -m service`: the same as the console script `customers`."""

from service.cli.main import main

if __name__ == "__main__":
    main()
