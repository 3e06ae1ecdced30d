//! Recognizes values that look like secrets. Everyone with access to fleet.yaml, the bucket or an instance's document
//! can read properties.

use super::words::has_form;

/// Words that mark a secret at the end of a name.
const NAMES: [&str; 8] = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIALS", "APIKEY", "PRIVATEKEY"];

/// Forms of secrets, and what each is.
const FORMS: [(&str, &str); 6] = [
    (r"(?s).*-----BEGIN [A-Z ]*PRIVATE KEY-----.*", "a private key"),
    (r"(AKIA|ASIA)[A-Z0-9]{16}", "an AWS access key"),
    (r"[A-Za-z0-9+.-]+://[^/\s:@]*:[^/\s@{]+@.*", "a URL with a password"),
    (r"(ghp|gho|ghs|github_pat)_[A-Za-z0-9_]{20,}", "a GitHub token"),
    (r"xox[abprs]-[A-Za-z0-9-]{10,}", "a Slack token"),
    (r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", "a JSON Web Token"),
];

/// Returns why a property may be a secret, or `None` if it does not look like one.
pub(crate) fn looks_secret(name: &str, value: &str) -> Option<String> {
    if let Some((_, what)) = FORMS.iter().find(|(form, _)| has_form(value, form)) {
        return Some(format!("its value looks like {what}"));
    }
    let upper = name.to_ascii_uppercase();
    let joined = upper.replace("API_KEY", "APIKEY").replace("PRIVATE_KEY", "PRIVATEKEY");
    let last = joined.rsplit('_').next().unwrap_or_default();
    // The location of a secret and a reference to one are not secrets.
    let is_place = value.is_empty() || value.starts_with("arn:") || value.starts_with('/') || value.contains("{{");
    (NAMES.contains(&last) && !is_place).then(|| "its name suggests it".to_owned())
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
    fn what_does_not_look_like_a_secret_is_accepted() {
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
