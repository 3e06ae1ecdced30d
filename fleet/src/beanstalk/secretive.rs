//! Recognizes options whose values may be secrets.
//!
//! Stricter than `check`: a value left out by mistake is reported and can be added by hand, while a secret carried over
//! by mistake has already been printed.

use crate::fleet::looks_secret;

/// Words that mark a secret at the end of a name.
const LAST: [&str; 8] = ["PASS", "PASSPHRASE", "PWD", "KEY", "SALT", "CREDS", "CREDENTIAL", "PASSWORDS"];

/// Words that mark a secret anywhere in a name, such as `SECRET_KEY_BASE` of Rails.
const ANYWHERE: [&str; 1] = ["SECRET"];

/// Returns whether a value may be a secret, judging by its name and its form.
pub(super) fn may_be_secret(name: &str, value: &str) -> bool {
    // Normalizes `DbPassword`, `db-password` and `db.password` to `DB_PASSWORD`.
    let mut words = String::new();
    for (at, letter) in name.char_indices() {
        let follows_small = name[..at].ends_with(|c: char| c.is_ascii_lowercase());
        if letter.is_ascii_uppercase() && follows_small {
            words.push('_');
        }
        words.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' });
    }
    let is_place = value.is_empty() || value.starts_with("arn:") || value.starts_with('/') || matches!(value, "true" | "false");
    let last = words.rsplit('_').next().unwrap_or_default();
    let says_so = words.ends_with("PASSWORD")
        || LAST.contains(&last) && !words.ends_with("PUBLIC_KEY")
        || words.split('_').any(|word| ANYWHERE.contains(&word));
    says_so && !is_place || looks_secret(&words, value).is_some() || value.contains("hooks.slack.com/services/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_found_in_any_spelling() {
        for name in [
            "SECRET_KEY_BASE",
            "DB_PASS",
            "MYSQL_PWD",
            "STRIPE_KEY",
            "DbPassword",
            "DBPassword",
            "my-pass",
            "my.password",
            "apiToken",
            "KEY",
        ] {
            assert!(may_be_secret(name, "hunter2"), "{name}");
        }
        assert!(may_be_secret("NOTIFY", "https://hooks.slack.com/services/T0/B0/x"));
        assert!(may_be_secret("URL", "postgres://a:hunter2@h/d"));
    }

    #[test]
    fn other_names_are_accepted() {
        for (name, value) in [
            ("TOKEN_TTL", "300"),
            ("PASSWORD_MIN_LENGTH", "12"),
            ("JWT_PUBLIC_KEY", "x"),
            ("SECRET_NAME", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db"),
            ("KEYS", "a"),
            ("BYPASS", "x"),
            ("VisibilityTimeout", "300"),
            ("EC2KeyName", "ops"),
        ] {
            assert!(!may_be_secret(name, value), "{name}={value}");
        }
    }
}
