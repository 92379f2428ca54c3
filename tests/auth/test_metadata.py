from auth import metadata, openid_configuration, resource_metadata

ISSUER = "https://naru.example"


METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
ASSERTIONS = ["ES256", "ES384", "ES512", "EdDSA", "PS256", "RS256"]


def test_the_server_advertises_only_what_works() -> None:
    assert metadata(ISSUER) == {
        "issuer": ISSUER,
        "token_endpoint": f"{ISSUER}/oauth/token",
        "token_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTIONS,
        "revocation_endpoint": f"{ISSUER}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": ASSERTIONS,
        "introspection_endpoint": f"{ISSUER}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ASSERTIONS,
        "jwks_uri": f"{ISSUER}/oauth/jwks",
        "scopes_supported": [
            *("inference", "agents", "agents:write", "knowledge", "knowledge:write", "admin")
        ],
        "response_types_supported": ["none"],
        "grant_types_supported": ["client_credentials"],
        "dpop_signing_alg_values_supported": ["ES256", "Ed25519", "EdDSA", "PS256", "RS256"],
    }


def test_openid_s_document_is_the_same_and_what_its_clients_demand() -> None:
    assert openid_configuration(ISSUER, ["RS256", "ES256", "RS256"]) == {
        **metadata(ISSUER),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
    }


def test_the_resource_names_its_server() -> None:
    document = resource_metadata(f"{ISSUER}/api", ISSUER)
    assert document["resource"] == f"{ISSUER}/api"
    assert document["authorization_servers"] == [ISSUER]
    assert document["bearer_methods_supported"] == ["header"]
