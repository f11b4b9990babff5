"""`python -m hesspot`: the command line, for mpirun and torchrun."""

from hesspot.cli.main import main

if __name__ == "__main__":
    main()
