//! The credentials of a database.
//!
//! They are a secret that is a JSON object with `username`, `password` and optionally `dbname`, in the format of RDS;
//! or the master user secret that RDS manages, which has the first two.

use serde_json::Value;

use super::decide;
use super::fields::{Credentials, Database};
use super::trouble::{DatabaseError, Unsuitable};
use crate::address::Address;
use crate::aws::rds::{self, MasterSecret};
use crate::aws::{SecretRequest, SecretValue, SecretVersion};
use crate::net::databases::Login;
use crate::step::Context;
use crate::template::Scope;
use crate::text::SecretText;

/// States of a database in which RDS may still create the secret of its master user.
const BECOMING: [&str; 3] = ["creating", "modifying", "resetting-master-credentials"];

/// The state of a managed secret that is not ready yet.
const MAKING: &str = "creating";

impl Database {
    /// The login to use. `None` if the document names none, or in a dry run that does not know the secret. `found` is
    /// the identifier and description of the database in RDS, if it is an RDS database.
    pub(super) async fn login(&self, found: Option<(&str, &rds::Database)>, cx: &Context<'_>) -> Result<Option<Login>, DatabaseError> {
        match &self.credentials {
            None => Ok(None),
            Some(Credentials::Secret(address)) => {
                let Some(secret) = cx.world.known.output(address) else {
                    return Err(Unsuitable::Secret { secret: address.to_string(), why: "is not there".into() }.into());
                };
                if cx.is_made_up(address) || secret.get(&[]).is_none_or(Value::is_null) {
                    return Ok(None);
                }
                Ok(Some(login(&secret, address.as_str())?))
            }
            Some(Credentials::Managed) => {
                let Some((id, found)) = found else { return Ok(None) };
                match &found.master_secret {
                    None => Err(Unsuitable::NotManaged { id: id.into() }.into()),
                    // Only a dry run makes up a secret without an ARN.
                    Some(secret) if secret.arn.is_empty() => Ok(None),
                    Some(secret) => Ok(Some(managed(secret, cx).await?)),
                }
            }
        }
    }

    /// The secret with the credentials, if the document names one.
    pub(super) fn secret(&self) -> Option<&Address> {
        match &self.credentials {
            Some(Credentials::Secret(address)) => Some(address),
            _ => None,
        }
    }

    pub(super) fn is_managed(&self) -> bool {
        self.credentials == Some(Credentials::Managed)
    }

    /// Whether the credentials can be read, or none are needed.
    ///
    /// # Errors
    ///
    /// If RDS does not manage the master password, and is not about to.
    pub(super) fn has_credentials(&self, id: &str, found: &rds::Database) -> Result<bool, Unsuitable> {
        if !self.is_managed() {
            return Ok(true);
        }
        match &found.master_secret {
            Some(secret) => Ok(secret.status != MAKING),
            None if decide::is_pending(found) || BECOMING.contains(&found.status.as_str()) => Ok(false),
            None => Err(Unsuitable::NotManaged { id: id.into() }),
        }
    }

    /// The display name of the credentials.
    pub(super) fn credentials_named(&self) -> String {
        self.secret().map_or_else(|| "the secret that RDS manages".into(), Address::to_string)
    }

    /// Makes the next [`login`](Database::login) read the secret from AWS again.
    ///
    /// # Errors
    ///
    /// A message that says why the secret could not be read.
    pub(super) async fn read_again(&self, cx: &Context<'_>) -> Result<(), String> {
        cx.world.aws.secrets.forget();
        cx.world.aws.parameters.forget();
        let Some(address) = self.secret() else { return Ok(()) };
        let outputs = cx.siblings.outputs(address, cx).await.map_err(|error| error.message)?;
        cx.world.known.replace_outputs(address, outputs);
        Ok(())
    }
}

async fn managed(secret: &MasterSecret, cx: &Context<'_>) -> Result<Login, DatabaseError> {
    cx.asking(format!("for secret {}", secret.arn));
    let request = SecretRequest { id: secret.arn.clone(), version: SecretVersion::Current };
    let value = match cx.world.aws.secrets.get(&request).await.map_err(DatabaseError::Secret)? {
        SecretValue::Text(text) => serde_json::from_str(text.expose()).unwrap_or(Value::Null),
        SecretValue::Binary(_) => Value::Null,
    };
    cx.world.redactor.learn(&value, &[]);
    Ok(login(&value.into(), &secret.arn)?)
}

/// `name` is the display name of the secret.
fn login(secret: &Scope, name: &str) -> Result<Login, Unsuitable> {
    let wrong = |why: String| Unsuitable::Secret { secret: name.to_owned(), why };
    if !secret.get(&[]).is_some_and(Value::is_object) {
        return Err(wrong("is not a JSON object".into()));
    }
    // Some secrets have empty fields that are not needed.
    let field = |name: &str| match secret.get(&[name.to_owned()]) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(SecretText::from(text.as_str())).filter(|text| !text.expose().is_empty())),
        // A password of digits that was stored as a number: the digits are used as written.
        Some(Value::Number(number)) => Ok(Some(SecretText::from(number.as_str()))),
        Some(_) => Err(wrong(format!("has something else than text for `{name}`"))),
    };
    let needed = |name: &str| field(name)?.ok_or_else(|| wrong(format!("has no `{name}`, or an empty one")));
    Ok(Login { user: needed("username")?, password: needed("password")?, database: field("dbname")? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_database_is_none_and_an_empty_user_is_an_error() {
        let of = |fields: Value| login(&fields.into(), "secrets.db");
        for dbname in [json!(""), Value::Null] {
            let login = of(json!({"username": "shop", "password": "p", "dbname": dbname})).unwrap();
            assert_eq!(login.database, None);
        }
        for (fields, why) in [
            (json!({"username": "", "password": "p"}), "secrets.db has no `username`, or an empty one"),
            (json!({"username": "shop", "password": ""}), "secrets.db has no `password`, or an empty one"),
            (json!({"username": "shop"}), "secrets.db has no `password`, or an empty one"),
            (json!({"username": "shop", "password": true}), "secrets.db has something else than text for `password`"),
            (json!("text"), "secrets.db is not a JSON object"),
        ] {
            let error = of(fields.clone()).unwrap_err().to_string();
            assert!(error.starts_with(why), "{fields}: {error}");
        }
    }

    #[test]
    fn a_password_of_digits_is_one_without_quotes_too() {
        let fields: Value = serde_json::from_str(r#"{"username": "shop", "password": 12345678901234567890123}"#).unwrap();
        assert_eq!(login(&fields.into(), "secrets.db").unwrap().password, SecretText::from("12345678901234567890123"));
    }

    #[test]
    fn a_secret_of_rds_is_waited_for_while_it_may_come() {
        let database: Database = serde_json::from_value(json!({"instance": "shop", "credentials": "managed"})).unwrap();
        let secret = |status: &str| Some(MasterSecret { arn: "arn:x".into(), status: status.into() });
        let in_state = |status: &str, master_secret| rds::Database { status: status.into(), master_secret, ..rds::Database::default() };
        for (found, expected) in [
            (in_state("available", secret("active")), Ok(true)),
            (in_state("available", secret("rotating")), Ok(true)),
            (in_state("available", secret("impaired")), Ok(true)),
            (in_state("creating", secret("creating")), Ok(false)),
            (in_state("modifying", None), Ok(false)),
            (in_state("available", None), Err(Unsuitable::NotManaged { id: "shop".into() })),
        ] {
            assert_eq!(database.has_credentials("shop", &found), expected, "{found:?}");
        }
    }
}
