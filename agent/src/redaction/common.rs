//! Which scalars of a secret are secrets: not the port, the engine or a flag that stands beside the password.

/// Shorter values, in bytes, are found everywhere by accident, and guessed as easily.
const SHORTEST: usize = 4;

/// Words that stand in many secrets and in every log: switches, this machine's own names, and the engines that Secrets
/// Manager writes into a database's secret.
///
/// Source: <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html>
const WORDS: [&str; 22] = [
    "true",
    "false",
    "none",
    "null",
    "enabled",
    "disabled",
    "default",
    "localhost",
    "localhost.localdomain",
    "127.0.0.1",
    "0.0.0.0",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "aurora",
    "aurora-mysql",
    "aurora-postgresql",
    "oracle",
    "sqlserver",
    "mongo",
    "redshift",
];

/// Whether `value` is worth hiding. One that is not would turn a log into a row of marks, and still be known to everyone.
pub(super) fn is_secret(value: &str) -> bool {
    value.len() >= SHORTEST && !is_port(value) && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// Whether `secret` is a list or an object of JSON, on lines of its own: what such a line holds is no scalar by itself.
pub(super) fn is_json_of_lines(secret: &str) -> bool {
    secret.starts_with(['{', '[']) && secret.contains('\n') && serde_json::from_str::<serde::de::IgnoredAny>(secret).is_ok()
}

/// Whether it is a number such as a port has.
fn is_port(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_switches_and_engines_are_no_secrets() {
        for value in ["", "1", "on", "abc", "true", "TRUE", "80", "5432", "65535", "00080", "localhost", "127.0.0.1", "aurora-mysql"] {
            assert!(!is_secret(value), "{value}");
        }
        for value in ["shop_rw", "hunter2", "65536", "123456", "+5432", "-1.5", "true!", "ab12"] {
            assert!(is_secret(value), "{value}");
        }
    }
}
