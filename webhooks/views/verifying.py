"""Code that verifies a delivery, in four languages, as docs/how-to/verify-webhooks.md has it."""

from django.http import HttpRequest

from dashboard.calls import Sample, colour

PYTHON = """\
import hmac


def verify_webhook(body: bytes, signature: str, secret: str) -> bool:
    digest = "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()
    return hmac.compare_digest(signature.encode(), digest.encode())"""
JAVASCRIPT = """\
const crypto = require("crypto");

function verifyWebhook(payload, signature, secret) {
  const hmac = crypto.createHmac("sha256", secret);
  const digest = "sha256=" + hmac.update(payload).digest("hex");
  return crypto.timingSafeEqual(Buffer.from(signature), Buffer.from(digest));
}"""
GO = """\
func verifyWebhook(body []byte, signature, secret string) bool {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	digest := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	return hmac.Equal([]byte(signature), []byte(digest))
}"""
RUBY = """\
require "openssl"

def verify_webhook(body, signature, secret)
  digest = "sha256=" + OpenSSL::HMAC.hexdigest("SHA256", secret, body)
  OpenSSL.secure_compare(signature, digest)
end"""
LANGUAGES = {"javascript": "JavaScript", "python": "Python", "go": "Go", "ruby": "Ruby"}
CODE = {"javascript": JAVASCRIPT, "python": PYTHON, "go": GO, "ruby": RUBY}


def samples(request: HttpRequest) -> list[tuple[Sample, bool]]:
    """Each with whether it is shown first: the language that was chosen for API calls, else the documents' own."""
    known = request.COOKIES.get("language")
    chosen = known if known in CODE else "javascript"
    return [
        (Sample(language, name, colour(CODE[language])), language == chosen) for language, name in LANGUAGES.items()
    ]
