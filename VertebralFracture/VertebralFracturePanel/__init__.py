"""What the VertebralFracture module is made of beside its widget: the only Python here that knows Qt."""
