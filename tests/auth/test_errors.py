import pytest

from auth import errors

METADATA = "https://naru.example/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (
            errors.InvalidToken("the token has expired"),
            'Bearer realm="naru", error="invalid_token", error_description="the token has expired"',
        ),
        (
            errors.InvalidCredentials("two"),
            'Bearer realm="naru", error="invalid_request", error_description="two"',
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
    assert error.headers(METADATA) == {
        "www-authenticate": f'{challenge}, resource_metadata="{METADATA}"'
    }


def test_without_credentials_both_schemes_are_named_and_no_error() -> None:
    assert errors.MissingCredentials(["ES256", "EdDSA"]).headers(METADATA) == {
        "www-authenticate": f'Bearer realm="naru", resource_metadata="{METADATA}", '
        'DPoP algs="ES256 EdDSA"'
    }


def test_challenges_of_dpop_as_rfc_9449_section_7_1_says() -> None:
    refused = errors.ProofRefused("no", ["ES256"], code="use_dpop_nonce", nonce="n1")
    assert refused.headers(METADATA) == {
        "www-authenticate": 'DPoP realm="naru", error="use_dpop_nonce", error_description="no", '
        f'resource_metadata="{METADATA}", algs="ES256"',
        "dpop-nonce": "n1",
    }
    assert "dpop-nonce" not in errors.ProofRefused("no", ["ES256"]).headers(METADATA)


def test_what_can_not_be_quoted_does_not_break_the_challenge() -> None:
    challenge = errors.InvalidToken('a "b" \\ c\r\nd 한').challenge(METADATA)
    assert 'error_description="a ?b? ? c??d ?"' in challenge


def test_a_refused_end_user_is_no_question_of_credentials() -> None:
    error = errors.InvalidEndUser("no")
    assert (error.headers(METADATA), error.status, error.param) == ({}, 400, "x-naru-end-user")


def test_the_tree_is_drawn_completely() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and "Error" in str(value.__mro__)
    ]
    assert all(cls.__name__ in (errors.__doc__ or "") for cls in classes)
