"""Exit codes of every command; docs/reference/exit-codes.md explains them."""

DONE = 0
INTERNAL_ERROR = 1
BAD_INPUT = 2
NOT_EVALUABLE_CODE = 3
CANCELLED = 130
