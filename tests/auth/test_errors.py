import pytest

from auth import errors

METADATA = "https://naru.example/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (errors.MissingCredentials(), 'Bearer realm="naru"'),
        (
            errors.InvalidToken("the token has expired"),
            'Bearer realm="naru", error="invalid_token", error_description="the token has expired"',
        ),
        (
            errors.InsufficientScope("agents"),
            (
                'Bearer realm="naru", error="insufficient_scope", '
                'error_description="the scope agents is required", scope="agents"'
            ),
        ),
    ],
)
def test_challenges_as_rfc_6750_section_3_says(error: errors.AuthError, challenge: str) -> None:
    assert error.challenge() == challenge
    assert error.challenge(METADATA) == f'{challenge}, resource_metadata="{METADATA}"'


def test_the_tree_is_drawn_completely() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and "Error" in str(value.__mro__)
    ]
    assert all(cls.__name__ in (errors.__doc__ or "") for cls in classes)
