"""`python -m cli` is `mdgen`: for launchers of several processes, such as `accelerate launch -m cli`."""

from cli import app

if __name__ == "__main__":
    app()
