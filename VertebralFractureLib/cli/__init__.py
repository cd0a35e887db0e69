"""The console command ``vertebral-fracture``: detect, phantom, demo, train, evaluate."""
