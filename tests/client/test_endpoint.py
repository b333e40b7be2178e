import pytest

from tokenswarm.client.endpoint import Endpoint


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("http://h:8000", "h:8000", "/v1/chat/completions"),
        ("http://h:8000/", "h:8000", "/v1/chat/completions"),
        ("http://h:8000/v1", "h:8000", "/v1/chat/completions"),
        ("http://h:8000/v1/", "h:8000", "/v1/chat/completions"),
        ("https://h/openai/v1/", "h", "/openai/v1/chat/completions"),
        ("https://h/v1beta", "h", "/v1beta/chat/completions"),
        ("https://h/api/paas/v4", "h", "/api/paas/v4/chat/completions"),
        ("http://h:80/proxy", "h", "/proxy/v1/chat/completions"),
        ("HTTP://Example.COM:443", "example.com:443", "/v1/chat/completions"),
        ("http://[::1]:8000", "[::1]:8000", "/v1/chat/completions"),
        (" http://127.0.0.1:1 ", "127.0.0.1:1", "/v1/chat/completions"),
    ],
)
def test_the_path_of_a_call_names_the_version_once(url, authority, path):
    endpoint = Endpoint.parse(url)
    assert (endpoint.authority, endpoint.path("/chat/completions")) == (authority, path)


@pytest.mark.parametrize(
    ("base_path", "query", "path"),
    [
        ("/serving-endpoints", "", "/serving-endpoints/chat/completions"),
        ("/v1beta/openai/", "", "/v1beta/openai/chat/completions"),
        ("/", "", "/chat/completions"),
        ("", "api-version=1", "/v1/chat/completions?api-version=1"),
    ],
)
def test_a_base_and_a_query_of_the_users_own(base_path, query, path):
    assert Endpoint.parse("https://h", base_path, query).path("/chat/completions") == path


@pytest.mark.parametrize(("host", "base_path"), [("http://h", "/a b"), ("http://h/v1", "/v1")])
def test_a_base_that_cannot_be_is_refused(host, base_path):
    with pytest.raises(ValueError, match="--base-path") as refused:
        Endpoint.parse(host, base_path)
    assert repr(base_path) in str(refused.value)


def test_a_query_is_not_shown():
    endpoint = Endpoint.parse("https://h", query="key=hunter2")
    assert "hunter2" not in f"{endpoint} {endpoint!r}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8000",
        "localhost",
        "ftp://h",
        "http://",
        "http://h:port",
        "http://h:99999",
        "http://h:0",
        "http://h/v1?key=1",
        "http://h/v1#x",
        "http://h/v1/chat/completions",
        "http://h/a b",
        "http://h/\u00e9",
        "http://a b/",
        "http://h\u00e9/",
        "http://[::1",
        "http://h//v1",
    ],
)
def test_a_refusal_names_the_option_the_value_and_what_is_accepted(url):
    with pytest.raises(ValueError) as refused:
        Endpoint.parse(url)
    assert "--host" in str(refused.value)
    assert repr(url) in str(refused.value)
    assert "accepted: http://" in str(refused.value)


def test_a_password_in_the_url_is_refused_without_repeating_it():
    with pytest.raises(ValueError, match="--host") as refused:
        Endpoint.parse("https://me:hunter2@h/v1")
    assert "hunter2" not in str(refused.value)
