//! Decides which scalars of a secret are worth hiding: not the port, the engine or a flag next to the password.

/// The shortest value that is hidden, in bytes. Shorter ones occur everywhere by chance, and are easily guessed.
const SHORTEST: usize = 4;

/// Words that occur in many secrets and in every log: switches, names of this machine, and the engines that Secrets
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

/// Whether `value` is worth hiding. Hiding one that is not would fill a log with marks, and protect nothing.
pub(super) fn is_secret(value: &str) -> bool {
    value.len() >= SHORTEST && !is_port(value) && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// Whether `secret` is a JSON list or object of several lines, in which a line is not a scalar by itself.
pub(super) fn is_json_of_lines(secret: &str) -> bool {
    secret.starts_with(['{', '[']) && secret.contains('\n') && serde_json::from_str::<serde::de::IgnoredAny>(secret).is_ok()
}

/// Whether it is a number in the range of ports.
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
