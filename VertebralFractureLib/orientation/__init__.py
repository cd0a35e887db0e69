"""Step 4b: where the patient's front and head are, seen in the anatomy, whatever the file says.

The spine cannot tell right from left. So a turned patient and a mirrored image are the same to this step: it finds the
patient's front and head, and takes for right what belongs to them in a body that is not mirrored.
"""

ORIENTATION_WEIGHTS, UPRIGHT_WEIGHTS = "orientation", "upright"
"""What the two networks are called in the weights' manifest."""
