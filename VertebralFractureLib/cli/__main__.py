"""``python -m VertebralFractureLib.cli`` does what the console command does."""

from VertebralFractureLib.cli.main import run

if __name__ == "__main__":
    run()
