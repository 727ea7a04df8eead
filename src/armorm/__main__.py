"""`python -m armorm` is `armorm`."""

from armorm.cli.main import main

if __name__ == "__main__":
    main()
