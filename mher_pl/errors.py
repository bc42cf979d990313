"""The error of a user's mistake."""


class UserError(ValueError):
    """One line that names the setting, its value and what is allowed; the command line prints it and exits with 1."""
