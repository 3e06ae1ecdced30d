//! Why a database did not accept a login: problems on the way to it, and its own errors.
//!
//! The meaning of the engines' error codes is decided here. Sources:
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>,
//! <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>,
//! <https://mariadb.com/kb/en/mariadb-error-code-reference/>.

use std::io;

use crate::failure::Failure;

/// The published bundle of RDS's certificate authorities.
const BUNDLE: &str = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{why}")]
    Name { why: String },
    #[error("{at} refuses connections")]
    Refused { at: String },
    #[error("{at} does not answer")]
    Silent { at: String },
    #[error("{at} accepts connections but sends nothing")]
    Mute { at: String },
    #[error("the connection to {at} broke: {why}")]
    Broken { at: String, why: String },
    #[error("{at} does not speak the protocol of its engine, but {what}")]
    Other { at: String, what: String },
    #[error("the user name, the password or the database's name contains a NUL, which cannot be sent to {at}")]
    Nul { at: String },
    #[error("{at} does not offer TLS")]
    NoTls { at: String },
    #[error("TLS with {at} failed: {why}")]
    Tls { at: String, why: String },
    /// `late` is whether this machine's clock may be the cause.
    #[error("the certificate of {at} is not trusted by {roots}: {why}")]
    Untrusted { at: String, roots: String, why: String, late: bool },
    #[error("cannot use the certificate authorities in {path}: {why}")]
    Roots { path: String, why: String },
    #[error("{at} asks for the password in clear text, and its identity is not verified")]
    Readable { at: String, open: bool },
    /// An MD5 hash of the password with a salt that the server chooses can be cracked quickly.
    #[error("{at} asks for an MD5 hash of the password, and its identity is not verified")]
    Guessable { at: String },
    #[error("{at} asks for a login by {method}")]
    Method { at: String, method: String },
    #[error("{at} could not prove that it knows the password")]
    Impostor { at: String },
    /// Anything that answers at this address could claim this.
    #[error("{at} accepts the login without asking for the password, and its identity is not verified")]
    Unasked { at: String },
    #[error("{}", .0.sentence())]
    Said(Said),
}

/// An error from the engine itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) at: String,
    pub(crate) verdict: Verdict,
    /// PostgreSQL's SQLSTATE or MySQL's error number.
    pub(crate) code: String,
    /// The engine's own message, which may contain the user's name.
    pub(crate) message: String,
    /// Whether the connection was not encrypted.
    pub(crate) open: bool,
}

/// The meaning of an engine's error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server is starting, recovering or shutting down.
    Starting,
    /// A pooler or proxy has no connection to the database behind it.
    Detached,
    Full,
    WrongPassword,
    /// The server has no such user, or does not allow this user from this address.
    NotAllowed,
    NoDatabase,
    NeedsTls,
    /// The server has counted too many broken connections from this address.
    Blocked,
    /// The user's password has to be changed, or the user unlocked, first.
    Locked,
    Unknown,
}

impl Said {
    fn sentence(&self) -> String {
        let Self { at, code, message, .. } = self;
        let what = match self.verdict {
            Verdict::Starting => "is starting up or shutting down",
            Verdict::Detached => "has no connection to the database behind it",
            Verdict::Full => "has too many connections",
            Verdict::WrongPassword => "refused the user name and password",
            Verdict::NotAllowed => "does not allow this user to log in from here",
            Verdict::NoDatabase => "has no such database",
            Verdict::NeedsTls => "accepts only encrypted connections",
            Verdict::Blocked => "has blocked this machine after too many broken connections",
            Verdict::Locked => "has locked this user",
            Verdict::Unknown => "refused the login",
        };
        format!("{at} {what} ({code}: {message})")
    }
}

impl Verdict {
    /// Whether it may pass with time alone.
    pub(super) fn may_pass(self) -> bool {
        matches!(self, Self::Starting | Self::Detached | Self::Full)
    }

    /// The meaning of a PostgreSQL SQLSTATE. `message` distinguishes errors that share one.
    pub(super) fn of_postgres(state: &str, message: &str) -> Self {
        match state {
            // cannot_connect_now; admin_shutdown, crash_shutdown; a standby that does not take connections yet.
            "57P03" | "57P01" | "57P02" => Self::Starting,
            "53300" | "53400" => Self::Full,
            "28P01" => Self::WrongPassword,
            // "no pg_hba.conf entry for host …, no encryption"; before version 14, "SSL off".
            "28000" if message.contains("no encryption") || message.contains("SSL off") => Self::NeedsTls,
            "28000" if message.contains("rejects") || message.contains("no pg_hba.conf entry") => Self::NotAllowed,
            "28000" => Self::WrongPassword,
            "3D000" => Self::NoDatabase,
            "42501" => Self::NotAllowed,
            "55000" => Self::NotAllowed,
            "57014" => Self::Starting,
            state if state.starts_with("08") => Self::of_pooler(message),
            // Out of memory or disk, or an internal error, such as a process that could not be started.
            state if state.starts_with("53") || state.starts_with("58") || state == "XX000" => Self::Starting,
            _ => Self::Unknown,
        }
    }

    /// The meaning of a connection exception (class 08). Poolers use it for all errors, including those of their
    /// database.
    ///
    /// Source: pgbouncer 1.18 to 1.25, `disconnect_client` and its callers.
    fn of_pooler(message: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if says(&["authentication failed", "no such user", "auth failed"]) {
            Self::WrongPassword
        } else if says(&["no such database", "does not exist"]) {
            Self::NoDatabase
        } else if says(&["SSL required"]) {
            Self::NeedsTls
        } else if says(&["no more connections", "too many"]) {
            Self::Full
        } else if says(&["pg_hba.conf", "login rejected", "not allowed"]) {
            Self::NotAllowed
        } else {
            Self::Detached
        }
    }

    /// The meaning of an error number of MySQL or MariaDB.
    pub(super) fn of_mysql(code: u16) -> Self {
        match code {
            // ER_SERVER_SHUTDOWN, ER_CANT_CREATE_THREAD, ER_NORMAL_SHUTDOWN, ER_SHUTDOWN_COMPLETE;
            // ER_SERVER_OFFLINE_MODE.
            1053 | 1135 | 1077 | 1079 | 3032 => Self::Starting,
            // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED, ER_OUT_OF_RESOURCES.
            1040 | 1203 | 1226 | 1041 => Self::Full,
            1045 | 1698 => Self::WrongPassword,
            // Client errors relayed by MaxScale; ProxySQL's "max connect timeout"; RDS Proxy's timeout for a
            // connection.
            2002 | 2003 | 2006 | 2013 | 9001 | 9501 => Self::Detached,
            1129 => Self::Blocked,
            1130 | 1044 => Self::NotAllowed,
            1049 => Self::NoDatabase,
            3159 => Self::NeedsTls,
            // ER_MUST_CHANGE_PASSWORD and similar, ER_ACCOUNT_HAS_BEEN_LOCKED (MySQL, MariaDB).
            1820 | 1862 | 3118 | 3955 | 4151 => Self::Locked,
            _ => Self::Unknown,
        }
    }
}

impl Refusal {
    pub(super) fn of_io(at: &str, error: &io::Error) -> Self {
        let at = at.to_owned();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { at },
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Silent { at },
            kind => Self::Broken { at, why: kind.to_string() },
        }
    }

    /// Whether this password was refused, so that another one may be right.
    pub(crate) fn is_wrong_password(&self) -> bool {
        self.verdict() == Some(Verdict::WrongPassword)
    }

    /// The meaning of the engine's own error, if it returned one.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Said(said) => Some(said.verdict),
            _ => None,
        }
    }

    /// The same refusal, with `clean` applied to the engine's message.
    pub(crate) fn redacted(self, clean: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Said(said) => Self::Said(Said { message: clean(&said.message), ..said }),
            other => other,
        }
    }
}

impl Failure for Refusal {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name { .. } => "correct the name, or check the name servers in /etc/resolv.conf".into(),
            Self::Refused { .. } | Self::Broken { .. } | Self::Mute { .. } => {
                "check that the server is running and that this is its port".into()
            }
            Self::Silent { .. } => "open its port in the database's security group for this instance, and check the route to it".into(),
            Self::Other { .. } => "correct `port:` or `engine:`".into(),
            Self::Nul { .. } => "correct the secret: no database accepts a NUL in them".into(),
            Self::NoTls { .. } => "turn TLS on in the server, or set `tls: prefer`".into(),
            Self::Tls { .. } => "read the server's log, or set `tls: disable` if the network is trusted".into(),
            Self::Untrusted { late: true, .. } => "check this machine's clock with `timedatectl`".into(),
            Self::Untrusted { .. } => format!(
                "bake RDS's certificate authorities ({BUNDLE}) into the image as /etc/ingot/rds-ca.pem, or name those of \
                 this server in `ca:`"
            ),
            Self::Roots { .. } => "name a file of PEM certificates that is in the image".into(),
            Self::Readable { .. } => format!(
                "set `tls: verify`, with the certificate authorities of the server in `ca:` (RDS's: {BUNDLE}, as \
                 /etc/ingot/rds-ca.pem)"
            ),
            Self::Guessable { .. } => format!(
                "store the user's password as SCRAM-SHA-256, or set `tls: verify`, with the certificate authorities of the \
                 server in `ca:` (RDS's: {BUNDLE}, as /etc/ingot/rds-ca.pem)"
            ),
            Self::Method { .. } => "store the user's password as SCRAM-SHA-256, caching_sha2_password or mysql_native_password".into(),
            Self::Impostor { .. } => "check `host` and `port`, and the DNS name: another server answers in place of the database".into(),
            Self::Unasked { .. } => {
                "configure the server to ask for the password, set `tls: verify`, or remove `credentials:` if it needs none".into()
            }
            Self::Said(said) => match said.verdict {
                Verdict::Starting => "check the server's log: its start-up does not finish".into(),
                Verdict::Detached => "check that the database behind this pooler or proxy is running and reachable from it".into(),
                Verdict::Full => "raise max_connections, or let fewer clients connect".into(),
                // MySQL and MariaDB give no other error to a user who must connect with TLS.
                Verdict::WrongPassword if said.open && said.code == "1045" => {
                    "correct the user name and password in the secret, or in the database; if it requires encryption, set `tls: require`"
                        .into()
                }
                Verdict::WrongPassword => "correct the user name and password in the secret, or in the database".into(),
                Verdict::NotAllowed => "allow the user from this address: pg_hba.conf, or GRANT … TO 'user'@'host'".into(),
                Verdict::NoDatabase => "correct `dbname` in the secret, or create the database".into(),
                Verdict::NeedsTls => "set `tls: require` or `tls: verify`".into(),
                Verdict::Blocked => "run `mysqladmin --host HOST --user ADMIN --password flush-hosts`, or raise max_connect_errors".into(),
                Verdict::Locked => "unlock the user, or give it another password".into(),
                Verdict::Unknown => return None,
            },
        })
    }

    /// Whether it may pass without intervention.
    fn is_transient(&self) -> bool {
        match self {
            Self::Name { .. } | Self::Refused { .. } | Self::Silent { .. } | Self::Mute { .. } | Self::Broken { .. } => true,
            Self::Untrusted { late, .. } => *late,
            Self::Said(said) => said.verdict.may_pass(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_postgresqls_answers_apart() {
        let table = [
            ("57P03", "the database system is starting up", Verdict::Starting),
            ("57P03", "the database system is in recovery mode", Verdict::Starting),
            ("57P01", "terminating connection due to administrator command", Verdict::Starting),
            ("53300", "sorry, too many clients already", Verdict::Full),
            ("53300", "remaining connection slots are reserved for non-replication superuser connections", Verdict::Full),
            ("28P01", "password authentication failed for user \"shop\"", Verdict::WrongPassword),
            ("28000", "role \"shop\" does not exist", Verdict::WrongPassword),
            ("28000", "no pg_hba.conf entry for host \"10.0.0.7\", user \"shop\", database \"shop\", no encryption", Verdict::NeedsTls),
            ("28000", "no pg_hba.conf entry for host \"10.0.0.7\", user \"shop\", database \"shop\", SSL off", Verdict::NeedsTls),
            ("28000", "no pg_hba.conf entry for host \"10.0.0.7\", user \"shop\", database \"shop\", SSL encryption", Verdict::NotAllowed),
            ("3D000", "database \"shop\" does not exist", Verdict::NoDatabase),
            ("42501", "permission denied for database \"shop\"", Verdict::NotAllowed),
            ("0A000", "unsupported frontend protocol", Verdict::Unknown),
            ("57014", "canceling statement due to statement timeout", Verdict::Starting),
            // Poolers.
            ("08P01", "the database system is starting up", Verdict::Detached),
            ("08P01", "pgbouncer cannot connect to server", Verdict::Detached),
            ("08P01", "server login has been failing, try again later (server_login_retry)", Verdict::Detached),
            ("08P01", "query_wait_timeout", Verdict::Detached),
            ("08006", "server closed the connection unexpectedly", Verdict::Detached),
            ("08001", "remote connect error", Verdict::Detached),
            ("08P01", "password authentication failed", Verdict::WrongPassword),
            ("08P01", "no such user: shop", Verdict::WrongPassword),
            ("08P01", "no such database: shop", Verdict::NoDatabase),
            ("08P01", "SSL required", Verdict::NeedsTls),
            ("08P01", "no more connections allowed (max_client_conn)", Verdict::Full),
            ("08P01", "no pg_hba.conf entry for host \"10.0.0.7\"", Verdict::NotAllowed),
        ];
        for (state, message, verdict) in table {
            assert_eq!(Verdict::of_postgres(state, message), verdict, "{state} {message}");
        }
    }

    #[test]
    fn tells_mysqls_answers_apart() {
        let table = [
            (1040, Verdict::Full),
            (1045, Verdict::WrongPassword),
            (1049, Verdict::NoDatabase),
            (1053, Verdict::Starting),
            (1129, Verdict::Blocked),
            (1130, Verdict::NotAllowed),
            (3159, Verdict::NeedsTls),
            (1820, Verdict::Locked),
            (2003, Verdict::Detached),
            (9001, Verdict::Detached),
            (9501, Verdict::Detached),
            (1064, Verdict::Unknown),
        ];
        for (code, verdict) in table {
            assert_eq!(Verdict::of_mysql(code), verdict, "{code}");
        }
    }

    #[test]
    fn waits_for_what_passes_and_for_nothing_else() {
        let at = || "db:5432".to_owned();
        let said = |verdict| Refusal::Said(Said { at: at(), verdict, code: "x".into(), message: "y".into(), open: false });
        for refusal in [
            Refusal::Refused { at: at() },
            Refusal::Silent { at: at() },
            said(Verdict::Starting),
            said(Verdict::Detached),
            said(Verdict::Full),
        ] {
            assert!(refusal.is_transient() && refusal.hint().is_some(), "{refusal}");
        }
        let untrusted = |late| Refusal::Untrusted { at: at(), roots: "x".into(), why: "y".into(), late };
        assert!(untrusted(true).is_transient() && !untrusted(false).is_transient());
        for verdict in [Verdict::WrongPassword, Verdict::NotAllowed, Verdict::NoDatabase, Verdict::NeedsTls, Verdict::Blocked] {
            assert!(!said(verdict).is_transient() && said(verdict).hint().is_some());
        }
    }
}
