//! `Dockerrun.aws.json`, version 1: an image, its port and its volumes.
//!
//! Source: <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/single-container-docker-configuration.html>

use serde_json::Value;

use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

pub(super) const DOCKERRUN: &str = "Dockerrun.aws.json";

/// The fields that are used.
#[derive(Debug, Default)]
pub(super) struct Dockerrun {
    pub(super) image: Option<String>,
    pub(super) port: Option<u16>,
    /// Directory on the machine, and directory in the container.
    pub(super) volumes: Vec<(String, String)>,
    pub(super) entrypoint: Option<String>,
    pub(super) command: Option<String>,
    pub(super) warnings: Vec<Remark>,
}

/// `None` if the release has no such file.
pub(super) fn dockerrun(release: &Release) -> Option<Result<Dockerrun, Remark>> {
    Some(release.text(DOCKERRUN)?.and_then(parsed))
}

fn parsed(text: &str) -> Result<Dockerrun, Remark> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        Remark::at(DOCKERRUN, error.line().max(1), format!("this is not JSON: {error}"), "correct the line, or the one before")
    })?;
    let version = written(&value["AWSEBDockerrunVersion"]);
    match version.as_deref() {
        Some("1") => {}
        Some("3") => return Ok(Dockerrun { warnings: vec![unread("Authentication")], ..Dockerrun::default() }),
        other => {
            let message = format!("version {} is not read, only version 1", other.unwrap_or("(none)"));
            return Err(Remark::of(DOCKERRUN, message, "replace it by a compose file"));
        }
    }
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let volume = |volume: &Value| Some((text(&volume["HostDirectory"])?, text(&volume["ContainerDirectory"])?));
    let ignored = ["Authentication", "Logging"].into_iter().filter(|key| !value[*key].is_null());
    Ok(Dockerrun {
        image: text(&value["Image"]["Name"]),
        port: written(&value["Ports"][0]["ContainerPort"]).and_then(|port| port.parse().ok()),
        volumes: value["Volumes"].as_array().into_iter().flatten().filter_map(volume).collect(),
        entrypoint: text(&value["Entrypoint"]),
        command: text(&value["Command"]),
        warnings: ignored.map(unread).collect(),
    })
}

fn unread(key: &str) -> Remark {
    let hint = match key {
        "Logging" => "write logs to stdout: they are in the journal",
        _ => "use an image of ECR, which the instance role may pull",
    };
    Remark::of(DOCKERRUN, format!("`{key}` is not read"), hint)
}

/// A number, boolean or string as text, because both `1` and `"1"` are common.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}
