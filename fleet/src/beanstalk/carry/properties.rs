//! Environment properties, and the secrets among them.

use super::super::draft::list;
use super::super::reading::PROPERTIES;
use super::super::secretive::may_be_secret;
use super::{Carry, is_computed};
use crate::fleet::has_form;

const SECRETS: &str = "aws:elasticbeanstalk:application:environmentsecrets";

impl Carry {
    pub(super) fn properties(&mut self) {
        for setting in self.options.take_all(PROPERTIES) {
            let is_secret = may_be_secret(&setting.name, &setting.value);
            let advice = if !is_secret && !has_form(&setting.name, "[A-Za-z_][A-Za-z0-9_]*") {
                "rename it to a valid environment variable, and write it in `properties:`"
            } else if is_computed(&setting.value) {
                "write the value that CloudFormation computes here as a property, or as a value of the boot document"
            } else if is_secret {
                "store it in Secrets Manager, list it in `secrets:`, and read it through `secrets:` in the boot document"
            } else {
                self.draft.property(&setting.name, &setting.value);
                let path = format!("properties.{}", setting.name);
                self.carried.push((setting, path));
                continue;
            };
            self.leave(&setting, advice);
        }
        self.secrets();
    }

    fn secrets(&mut self) {
        let mut names = Vec::new();
        for setting in self.options.take_all(SECRETS) {
            let Some(name) = name_of(&setting.value) else {
                self.leave(&setting, "write the name of the secret in `secrets:`");
                continue;
            };
            let variable = &setting.name;
            let advice =
                format!("read `{name}` through `secrets:` in the boot document, and set {variable} in `environment:` of the application");
            self.notes.push(format!("{variable} is not a property: {advice}"));
            if !names.contains(&name) {
                names.push(name);
            }
            self.carried.push((setting, "secrets".into()));
        }
        if !names.is_empty() {
            self.draft.set("secrets", list(names));
        }
    }
}

/// Returns the name of a secret or parameter from its ARN.
///
/// Secrets Manager appends a hyphen and six characters to the name. After another colon comes a key, a stage or a
/// version:
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/getting-started.html>
fn name_of(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.trim().split(':').collect();
    match parts.as_slice() {
        ["arn", _, "secretsmanager", _, _, "secret", name, ..] => {
            let whole = name.rsplit_once('-').filter(|(_, end)| end.len() == 6).map_or(*name, |(name, _)| name);
            Some(whole.to_owned())
        }
        ["arn", _, "ssm", _, _, resource, ..] => {
            let name = resource.strip_prefix("parameter")?;
            Some(name.to_owned()).filter(|name| name.len() > 1)
        }
        _ => None,
    }
}
