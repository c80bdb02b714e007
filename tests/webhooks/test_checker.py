"""Which signature is right, and what is said of one that is not."""

import json

import pytest

from webhooks import checker, signing, vectors
from webhooks.checker import check


def sample(number=0):
    vector = vectors.published()[number]
    return vector["body"], vector["headers"], vector["secrets"]


def lines(headers, **other):
    return "\n".join(f"{name}: {value}" for name, value in {**headers, **other}.items())


def verdicts(findings):
    return [finding.verdict for finding in findings]


@pytest.mark.parametrize("number", range(len(vectors.published())))
def test_whatever_lambda_sends_is_right_by_all_three_rules(number):
    body, headers, secrets = sample(number)
    assert verdicts(check(body, lines(headers), secrets[0])) == ["right"] * 3
    assert verdicts(check(body, json.dumps(headers), secrets[0])) == ["right"] * 3


def test_headers_that_are_nested_without_end_are_no_headers():
    assert verdicts(check(*sample()[:1], '{"a":' * 4000, sample()[2][0]))[0] == "missing"


@pytest.mark.parametrize(("opened", "closed"), [('{"a":', "}"), ("[", "]")])
@pytest.mark.parametrize("depth", [254, 255, 1000, 1023])
def test_json_that_can_be_read_but_is_nested_too_deeply_to_be_written_is_answered(opened, closed, depth):
    nested = opened * depth + "1" + closed * depth
    assert "right" not in verdicts(check(nested, f'{{"x": {nested}}}', "whsec_x"))
    assert verdicts(check(sample()[0], f'{{"x": {nested}}}', sample()[2][0]))[0] == "missing"


def test_during_a_rotation_the_new_secret_signs_the_third_alone():
    body, headers, (_, new) = sample(3)
    assert verdicts(check(body, lines(headers), new)) == ["wrong", "wrong", "right"]


def test_where_two_differ_is_told_to_the_character():
    body, headers, secrets = sample()
    right = headers["X-Lambda-Signature"]
    finding = check(body, right[:20] + "x" + right[21:], secrets[0])[0]
    assert (finding.same, finding.other[0]) == (right[:20], "x")
    assert finding.same + finding.other != finding.expected == right


def test_without_headers_what_is_expected_is_told():
    body, headers, secrets = sample()
    first, second, third = check(body, "", secrets[0])
    assert (first.verdict, first.expected) == ("missing", headers["X-Lambda-Signature"])
    assert second.verdict == "right"
    assert (third.verdict, third.expected) == ("missing", "")


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (lambda body, header, secret: (body + "\n", header, secret), "spaces or line ends"),
        (lambda body, header, secret: (json.dumps(json.loads(body)), header, secret), "as they came"),
        (lambda body, header, secret: (json.dumps(json.loads(body), indent=2), header, secret), "as they came"),
        (
            lambda body, header, secret: (body, header.upper().replace("SHA256", "sha256"), secret),
            "written differently",
        ),
        (lambda body, header, secret: (body, header.removeprefix("sha256="), secret), "written differently"),
        (lambda body, header, secret: (body, header, f'"{secret}"'), "without the spaces or quotes"),
        (lambda body, header, secret: (body, header, signing.standard_form(secret)), "Standard Webhooks"),
        (lambda body, header, secret: (body, json.loads(body)["signature"], secret), "the other signature"),
        (lambda body, header, secret: (body, header, secret + "!"), "another secret"),
        (lambda body, header, secret: (body.replace("running", "stopped"), header, secret), "another secret"),
    ],
)
def test_the_likely_mistake_is_named(change, advice):
    body, headers, secrets = sample()
    first = check(*change(body, headers["X-Lambda-Signature"], secrets[0]))[0]
    assert first.verdict == "wrong"
    assert advice in first.advice


def test_the_third_is_wrong_for_another_time_and_for_a_secret_that_is_no_base64():
    body, headers, secrets = sample(1)
    assert check(body, lines(headers, **{"webhook-timestamp": "1"}), secrets[0])[2].verdict == "wrong"
    assert "not base64" in check(body, lines(headers), "whsec_x")[2].advice


@pytest.mark.parametrize(
    "body", ["", "}", "{}", "[1]", "nonsense", '{"signature":"sha256=0"}', "\ud83d\ude80", "{" * 1000]
)
@pytest.mark.parametrize("headers", ["", "::", "{", "[]", "{}", "v1,", "sha256=", "a\0b: c"])
def test_nonsense_is_answered_and_never_right(body, headers):
    assert "right" not in verdicts(check(body.encode("utf-16", "surrogatepass").decode("utf-16"), headers, "whsec_x"))


def test_headers_are_found_however_they_are_spelled():
    assert checker.read("X-Lambda-Signature:sha256=1\nWebhook-Id: evt_1") == {
        "x-lambda-signature": "sha256=1",
        "webhook-id": "evt_1",
    }
    assert checker.read("v1,abc") == {"webhook-signature": "v1,abc"}
