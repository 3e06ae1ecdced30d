//! Values that look like secrets: whoever can read fleet.yaml, the bucket or an instance's document reads properties.

use super::words::has_form;

/// Last words of names whose values are secrets.
const NAMES: [&str; 8] = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIALS", "APIKEY", "PRIVATEKEY"];

/// Forms of secrets, and what each is.
const FORMS: [(&str, &str); 6] = [
    (r"(?s).*-----BEGIN [A-Z ]*PRIVATE KEY-----.*", "a private key"),
    (r"(AKIA|ASIA)[A-Z0-9]{16}", "an access key of AWS"),
    (r"[A-Za-z0-9+.-]+://[^/\s:@]*:[^/\s@{]+@.*", "a URL with a password"),
    (r"(ghp|gho|ghs|github_pat)_[A-Za-z0-9_]{20,}", "a token of GitHub"),
    (r"xox[abprs]-[A-Za-z0-9-]{10,}", "a token of Slack"),
    (r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", "a JSON Web Token"),
];

/// Why a property may be a secret, if it may.
pub(crate) fn looks_secret(name: &str, value: &str) -> Option<String> {
    if let Some((_, what)) = FORMS.iter().find(|(form, _)| has_form(value, form)) {
        return Some(format!("its value looks like {what}"));
    }
    let upper = name.to_ascii_uppercase();
    let joined = upper.replace("API_KEY", "APIKEY").replace("PRIVATE_KEY", "PRIVATEKEY");
    let last = joined.rsplit('_').next().unwrap_or_default();
    // Where a secret is, and a reference to one, are none.
    let is_place = value.is_empty() || value.starts_with("arn:") || value.starts_with('/') || value.contains("{{");
    (NAMES.contains(&last) && !is_place).then(|| "its name says so".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_found() {
        for (name, value) in [
            ("DB_PASSWORD", "hunter2"),
            ("api_key", "12345"),
            ("GITHUB_TOKEN", "x"),
            ("KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("DATABASE_URL", "postgres://shop:hunter2@db/shop"),
            ("PEM", "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----"),
        ] {
            assert!(looks_secret(name, value).is_some(), "{name}={value}");
        }
    }

    #[test]
    fn what_does_not_is_let_through() {
        for (name, value) in [
            ("TOKEN_TTL", "300"),
            ("PASSWORD_MIN_LENGTH", "12"),
            ("DB_PASSWORD", "{{secrets.db.password}}"),
            ("DB_SECRET", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db"),
            ("UPSTREAM", "http://localhost:8080/a@b"),
            ("LOG_LEVEL", "debug"),
        ] {
            assert_eq!(looks_secret(name, value), None, "{name}={value}");
        }
    }
}
