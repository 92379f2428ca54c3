from auth import metadata, resource_metadata

ISSUER = "https://naru.example"


def test_the_server_advertises_only_what_works() -> None:
    assert metadata(ISSUER) == {
        "issuer": ISSUER,
        "token_endpoint": f"{ISSUER}/oauth/token",
        "jwks_uri": f"{ISSUER}/oauth/jwks",
        "scopes_supported": [
            *("inference", "agents", "agents:write", "knowledge", "knowledge:write", "admin")
        ],
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }


def test_the_resource_names_its_server() -> None:
    document = resource_metadata(f"{ISSUER}/api", ISSUER)
    assert document["resource"] == f"{ISSUER}/api"
    assert document["authorization_servers"] == [ISSUER]
    assert document["bearer_methods_supported"] == ["header"]
